"""Downloads a WebAdMIT export every night with the KubernetesPodOperator, and loads the file in another pod.

Replace the export name, the identity and OWNER (the owner of the image). Needs Airflow 3 and its provider cncf.kubernetes 10.20 or
later. Everyone who can create pods in a namespace can read its secrets and volumes, so use a namespace of its own.
webadmit_kubernetes.yaml has the volume claim, and what Airflow's service account may do there; replace the name of this account:

    kubectl create namespace webadmit
    kubectl --namespace webadmit create secret generic webadmit --from-file=api-key=FILE_WITH_THE_KEY
    kubectl --namespace webadmit apply --filename webadmit_kubernetes.yaml

Then delete FILE_WITH_THE_KEY.

Run with scripts/check-airflow, which replaces the pods by local processes. Not run on Kubernetes.
"""

from datetime import timedelta

import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import dag
from kubernetes.client import models as k8s

SECURITY_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

POD = {
    "namespace": "webadmit",
    "automount_service_account_token": False,
    "security_context": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "container_security_context": SECURITY_CONTEXT,
    "volumes": [
        k8s.V1Volume(
            name="files",
            persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name="webadmit-files"),
        )
    ],
    "volume_mounts": [k8s.V1VolumeMount(name="files", mount_path="/files")],
    # The program ends within a second of SIGTERM.
    "termination_grace_period": 10,
}

# Your loader instead of wc. The files are deleted in the end, also if the loader fails; those of a failed export, after the next load.
LOAD = """
trap 'rm -rf /files/exports' EXIT
echo "The run ended as $STATUS"
[ "$FILE" != / ] || exit 0  # with another fail-on, the export can succeed without a file
wc -l "$FILE"
"""


@dag(
    schedule="17 4 * * *",  # UTC
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    # The program retries by itself. Another attempt after a timeout would only wait for the same run.
    default_args={"retries": 0},
)
def webadmit_kubernetes():
    export = KubernetesPodOperator(
        task_id="export",
        image="ghcr.io/OWNER/webadmit-export:v1",
        image_pull_policy="Always",  # the tag v1 moves with each release
        # The key is only a reference in the pod. It is neither in Airflow's database nor in its log.
        secrets=[Secret("env", "INPUT_API_KEY", "webadmit", "api-key")],
        env_vars={
            "INPUT_EXPORT_NAME": "Nightly Applicants",
            "INPUT_IDENTITY": "SOPHAS",
            "INPUT_DIRECTORY": "/files/exports",
            # Airflow reads the task's XCom from this file: a JSON object with the outputs.
            "INPUT_OUTPUT_FILE": "/airflow/xcom/return.json",
        },
        do_xcom_push=True,
        xcom_sidecar_container_security_context=SECURITY_CONTEXT,
        # Longer than the input timeout, which is an hour.
        execution_timeout=timedelta(minutes=75),
        **POD,
    )

    load = KubernetesPodOperator(
        task_id="load",
        image="busybox:1-musl",
        cmds=["sh", "-ec"],
        arguments=[LOAD],
        # In variables, the values cannot change the script. The path is relative to the working directory, which is the root. Several
        # exports have no path: pass "{{ ti.xcom_pull(task_ids='export')['paths'] | join('\n') }}", and put the slash before each line.
        env_vars={
            "FILE": "/{{ ti.xcom_pull(task_ids='export')['path'] or '' }}",
            "STATUS": "{{ ti.xcom_pull(task_ids='export')['status'] }}",
        },
        **POD,
    )

    export >> load


webadmit_kubernetes()
