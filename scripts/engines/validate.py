"""Validates the files of the examples: the schemas and models of the engines, and the checks in
references.py and values.py."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
from hera.workflows.models import CronWorkflow

from engines.fields import KESTRA, TEKTON_PIPELINE, TEKTON_PIPELINE_RUN, TEKTON_PIPELINE_TASK, TEKTON_TASK, UNITS
from engines.files import EXAMPLES, documents, find, find_kind, nightly_pipeline_run, read, unit_settings
from engines.references import check_argo_references, check_containers, check_references
from engines.values import INPUT_TIMEOUT, check_schedule, check_values, parse_duration, parse_iso_duration

OBJECTS = ["kubernetes/cronjob.yaml", "argo/cronworkflow.yaml", "tekton/trigger.yaml", "airflow/webadmit_kubernetes.yaml"]


def validate_kubernetes_objects():
    for path in OBJECTS:
        for document in read(path):
            if document["kind"] != "CronWorkflow":
                kubernetes_validate.validate(document, "1.37", strict=True)
        check_references(path, read(path))

    jobs = [cron_job("kubernetes/cronjob.yaml"), cron_job("tekton/trigger.yaml")]
    for job in jobs:
        check_containers(job["template"]["spec"])
        assert job["backoffLimit"] == 0, "a failed job is repeated"
    assert jobs[0]["activeDeadlineSeconds"] > INPUT_TIMEOUT, "the job ends before the input timeout"


def cron_job(path):
    return find_kind(path, "CronJob")["spec"]["jobTemplate"]["spec"]


def validate_cron_workflow():
    document = find_kind("argo/cronworkflow.yaml", "CronWorkflow")
    model = CronWorkflow.model_validate(document)
    # The model ignores unknown fields, so look for fields that it lost.
    assert_contains(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)), document, "CronWorkflow")
    workflow = document["spec"]["workflowSpec"]
    check_argo_references(workflow)
    timeout = find(workflow["templates"], "export")["activeDeadlineSeconds"]
    assert timeout > INPUT_TIMEOUT, "the export ends before the input timeout"


def assert_contains(model, document, path):
    if isinstance(document, dict):
        for key, value in document.items():
            assert key in model, f"unknown field {path}.{key}"
            assert_contains(model[key], value, f"{path}.{key}")
    elif isinstance(document, list):
        for index, value in enumerate(document):
            assert_contains(model[index], value, f"{path}[{index}]")
    else:
        assert model == document, f"{path}: {document} became {model}"


def validate_tekton():
    [task], [pipeline], [run] = read("tekton/task.yaml"), read("tekton/pipeline.yaml"), documents(nightly_pipeline_run())
    for step in tasks_of(pipeline):
        assert set(step) <= TEKTON_PIPELINE_TASK, f"unknown fields: {set(step) - TEKTON_PIPELINE_TASK}"
    for owner in [task["spec"], *(step["taskSpec"] for step in tasks_of(pipeline) if "taskSpec" in step)]:
        assert set(owner) <= TEKTON_TASK, f"unknown fields: {set(owner) - TEKTON_TASK}"
        for step in owner["steps"]:
            validate_step(step)
    assert set(pipeline["spec"]) == TEKTON_PIPELINE, f"the Pipeline has {set(pipeline['spec'])}"
    validate_pipeline_run(run, pipeline, task)
    # tekton-lint does not compare a PipelineRun with its Pipeline.
    for field in ["params", "workspaces"]:
        given = {item["name"] for item in run["spec"][field]}
        declared = {item["name"] for item in pipeline["spec"][field]}
        assert given == declared, f"the PipelineRun has the {field} {given}, the Pipeline {declared}"

    linter = pathlib.Path(sys.prefix, "node_modules/.bin/tekton-lint")
    if not linter.exists():
        return "NOT CHECKED: tekton-lint needs npm"
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "pipelinerun.yaml")
        path.write_text(nightly_pipeline_run())
        files = [EXAMPLES / "tekton/task.yaml", EXAMPLES / "tekton/pipeline.yaml", path]
        run_tool([linter, "--max-warnings=0", *files])


def tasks_of(pipeline):
    return pipeline["spec"]["tasks"] + pipeline["spec"]["finally"]


def validate_pipeline_run(run, pipeline, task):
    spec = run["spec"]
    assert set(spec) == TEKTON_PIPELINE_RUN, f"the PipelineRun has {set(spec)}"
    assert spec["pipelineRef"] == {"name": pipeline["metadata"]["name"]}, f"pipelineRef is {spec['pipelineRef']}"
    export = find(pipeline["spec"]["tasks"], "export")
    assert export["taskRef"] == {"name": task["metadata"]["name"]}, f"taskRef is {export['taskRef']}"

    assert set(spec["timeouts"]) == {"pipeline", "tasks"}, spec["timeouts"]
    timeouts = [export["timeout"], spec["timeouts"]["tasks"], spec["timeouts"]["pipeline"]]
    seconds = [parse_duration(timeout) for timeout in timeouts]
    assert INPUT_TIMEOUT < seconds[0] <= seconds[1] <= seconds[2], f"timeouts of the Task, all Tasks and the PipelineRun: {timeouts}"

    [pod_template] = spec["taskRunTemplate"].values()
    assert "podTemplate" in spec["taskRunTemplate"], spec["taskRunTemplate"]
    validate_object("v1", "Pod", {"containers": [{"name": "step"}], **pod_template})
    [workspace] = spec["workspaces"]
    validate_object("v1", "PersistentVolumeClaim", workspace["volumeClaimTemplate"]["spec"])

    # The command of the CronJob reads a key of the ConfigMap.
    [container] = cron_job("tekton/trigger.yaml")["template"]["spec"]["containers"]
    [folder] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "manifest"]
    files = [f"--filename={folder}/{key}" for key in find_kind("tekton/trigger.yaml", "ConfigMap")["data"]]
    assert files == [word for word in container["command"] if word.startswith("--filename=")], f"the ConfigMap has {files}"


def validate_step(step):
    """Validates a step as a container of Kubernetes, which it is except for two fields."""
    assert "resources" not in step, "in a step, resources are computeResources"
    container = {key: value for key, value in step.items() if key not in ("script", "computeResources")}
    container["resources"] = step.get("computeResources", {})
    validate_object("v1", "Pod", {"containers": [container]})
    check_values(step)


def validate_object(version, kind, spec):
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": "example"}, "spec": spec}
    kubernetes_validate.validate(document, "1.37", strict=True)


def validate_kestra():
    [flow] = read("kestra/flow.yaml")
    parts = {"id", "namespace", "triggers", "concurrency", "tasks", "finally"}
    assert set(flow) == parts, f"the flow has {set(flow)}, not {parts}"
    assert flow["concurrency"]["limit"] == 1 and set(flow["concurrency"]) == {"limit", "behavior"}, flow["concurrency"]
    check_values(flow)
    items = flow["triggers"] + flow["tasks"] + flow["finally"]
    for item in items + [item["taskRunner"] for item in items if "taskRunner" in item]:
        assert item["type"] in KESTRA, f"unknown type {item['type']}"
        assert set(item) <= KESTRA[item["type"]], f"unknown fields: {set(item) - KESTRA[item['type']]}"
    assert all(item["id"] for item in items)
    export = find(flow["tasks"], "export")
    assert parse_iso_duration(export["timeout"]) > INPUT_TIMEOUT, f"the timeout is {export['timeout']}"
    parse_iso_duration(export["taskRunner"]["killGracePeriod"])


def validate_cron():
    script = (EXAMPLES / "cron/nightly-export").read_text()
    assert script.startswith("#!/bin/sh\n"), "the script has no shebang"
    [installed] = re.findall(r"^#   install -m 755 nightly-export (\S+)$", script, re.MULTILINE)
    [user] = re.findall(r"^#   useradd .* (\S+)$", script, re.MULTILINE)
    [program] = re.findall(r"^#   install -m 755 webadmit-export-\S+ (\S+)$", script, re.MULTILINE)

    lines = (EXAMPLES / "cron/webadmit-export.cron").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    variables = dict(line.split("=") for line in lines if re.fullmatch(r"[A-Z]+=\S+", line))
    assert set(variables) == {"MAILTO", "PATH"}, variables
    assert str(pathlib.PurePath(program).parent) in variables["PATH"].split(":"), f"{program} is not in the PATH"
    [job] = [line for line in lines if "=" not in line]
    *times, job_user, command = job.split(maxsplit=6)
    check_schedule(" ".join(times))
    assert (job_user, command) == (user, installed), f"{job}, but the script is {installed}, for {user}"


def validate_settings():
    for kind, expected in UNITS.items():
        settings = unit_settings(kind)
        for name, value in expected.items():
            given = [value for setting, value in settings if setting == name]
            assert given == [value], f"{name} is {given}, not {value}"
    [timeout] = [value for name, value in unit_settings("service") if name == "TimeoutStartSec"]
    assert parse_duration(timeout, ["h", "min", "s"]) > INPUT_TIMEOUT, f"TimeoutStartSec is {timeout}"


def validate_units():
    if not shutil.which("systemd-analyze"):
        return "NOT CHECKED: the units need systemd-analyze"
    units = [EXAMPLES / "systemd" / f"webadmit-export.{kind}" for kind in ("service", "timer")]
    # Unknown settings are only warnings. There can be others about units of this machine.
    output = run_tool(["systemd-analyze", "verify", "--recursive-errors=no", *units])
    warnings = [line for line in output.splitlines() if "webadmit-export" in line]
    assert not warnings, warnings
    # The threshold is in tenths.
    run_tool(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", units[0]])


def run_tool(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


VALIDATIONS = {
    "the Kubernetes objects are valid, and refer to each other": validate_kubernetes_objects,
    "the Argo CronWorkflow is valid, and so are its references": validate_cron_workflow,
    "Tekton's files are valid, and refer to each other": validate_tekton,
    "the Kestra flow has only known types and fields": validate_kestra,
    "the crontab is valid, and starts the script where it is installed": validate_cron,
    "the systemd units have the required settings": validate_settings,
    "the systemd units are valid and confined": validate_units,
}
