"""The fields that the examples may use, and the values of those with a few choices. Schemas and models accept any text in most fields."""

# The values that a field accepts, by the end of its path. Only one time zone, the one that the examples use.
CHOICES = {
    "concurrencyPolicy": {"Allow", "Forbid", "Replace"},
    "restartPolicy": {"Never", "OnFailure"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "podGC.strategy": {"OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"},
    "artifactGC.strategy": {"OnWorkflowCompletion", "OnWorkflowDeletion", "Never"},
    "concurrency.behavior": {"QUEUE", "CANCEL", "FAIL"},
    "taskRunner.pullPolicy": {"IF_NOT_PRESENT", "ALWAYS", "NEVER"},
    "timeZone": {"Etc/UTC"},
    "timezone": {"Etc/UTC"},
}

# The API groups and resources of the Roles, with their verbs.
PERMISSIONS = {
    "kubernetes/cronjob.yaml": {},
    "argo/cronworkflow.yaml": {
        "argoproj.io/workflowtaskresults": {"create", "patch"},
        "argoproj.io/workflowartifactgctasks": {"list", "watch"},
        "argoproj.io/workflowartifactgctasks/status": {"patch"},
    },
    "tekton/trigger.yaml": {"tekton.dev/pipelineruns": {"create"}},
    "airflow/webadmit_kubernetes.yaml": {
        "/pods": {"create", "get", "list", "watch", "patch", "delete"},
        "/pods/log": {"get"},
        "/pods/exec": {"create", "get"},
        "/events": {"list"},
    },
}

# The fields that the examples use. A step has those of a container, which are validated as such.
TEKTON_TASK = {"description", "params", "workspaces", "results", "steps"}
TEKTON_PIPELINE = {"params", "workspaces", "tasks", "finally"}
TEKTON_PIPELINE_TASK = {"name", "taskRef", "taskSpec", "timeout", "params", "workspaces"}
TEKTON_PIPELINE_RUN = {"pipelineRef", "params", "timeouts", "workspaces", "taskRunTemplate"}

# The types of Kestra's plugins, with the fields that the examples use.
KESTRA = {
    "io.kestra.plugin.core.trigger.Schedule": {"id", "type", "cron", "timezone"},
    "io.kestra.plugin.scripts.shell.Commands": {
        "id", "type", "runIf", "containerImage", "taskRunner", "timeout", "env", "commands", "inputFiles", "outputFiles",
    },
    "io.kestra.plugin.scripts.runner.docker.Docker": {"type", "pullPolicy", "killGracePeriod"},
    "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles": {"id", "type"},
}  # fmt: skip

UNITS = {
    "service": {
        "Type": "oneshot",
        "Restart": "no",
        "DynamicUser": "yes",
        "StateDirectory": "webadmit",
        "StateDirectoryMode": "0700",
        "WorkingDirectory": "%S/webadmit",
        "UMask": "0077",
        "Wants": "network-online.target",
        "After": "network-online.target",
        "LoadCredential": "api-key:/etc/webadmit/api-key",
    },
    "timer": {"Persistent": "true", "WantedBy": "timers.target"},
}
