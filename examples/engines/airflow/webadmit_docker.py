"""Downloads a WebAdMIT export every night with the DockerOperator, and loads the file in another container.

Replace the export name, the identity and OWNER (the owner of the image). Needs Airflow 3 and its provider docker. Store the API key as
the password of the Airflow connection "webadmit" (of the type generic), which Airflow encrypts. While the container exists, everyone
who may use Docker on its host can read the key.

Run with scripts/check-airflow, which replaces the containers by local processes. An earlier version was run once in containers, through
the Docker API of Podman 4.3, with a stand-in for WebAdMIT. Not run with Docker itself.
"""

import json
from datetime import timedelta

import pendulum
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import dag
from docker.types import Mount

CONTAINER = {
    # Docker creates this volume. Only root and Docker's users can read it.
    "mounts": [Mount(target="/files", source="webadmit-files", type="volume")],
    "working_dir": "/files",
    "mount_tmp_dir": False,
    # Also after a failure.
    "auto_remove": "force",
}

# Airflow stops a container with SIGTERM, which the shell passes on: the program removes partial files and writes the outputs. The XCom is
# the last line of the container's output. The output file is one line of JSON, without personal data.
EXPORT = """
trap 'kill "$program"' TERM
webadmit-export & program=$!
wait "$program" || { wait "$program"; exit; }
cat outputs.json
"""

# Your loader instead of wc. The files are deleted in the end, also if the loader fails; those of a failed export, after the next load.
LOAD = """
trap 'rm -rf exports' EXIT
echo "The run ended as $STATUS"
[ -n "$FILE" ] || exit 0  # with another fail-on, the export can succeed without a file
wc -l "$FILE"
"""


@dag(
    schedule="17 4 * * *",  # UTC
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    # The program retries by itself. Another attempt after a timeout would only wait for the same run.
    default_args={"retries": 0},
    user_defined_filters={"from_json": json.loads},
)
def webadmit_docker():
    export = DockerOperator(
        task_id="export",
        image="ghcr.io/OWNER/webadmit-export:v1",
        force_pull=True,  # the tag v1 moves with each release
        entrypoint=["sh", "-c"],
        command=[EXPORT],
        environment={
            # Airflow hides the value in its log and in the rendered templates.
            "INPUT_API_KEY": "{{ conn.webadmit.password }}",
            "INPUT_EXPORT_NAME": "Nightly Applicants",
            "INPUT_IDENTITY": "SOPHAS",
            "INPUT_DIRECTORY": "exports",
            "INPUT_OUTPUT_FILE": "outputs.json",
        },
        do_xcom_push=True,
        # Longer than the input timeout, which is an hour.
        execution_timeout=timedelta(minutes=75),
        **CONTAINER,
    )

    load = DockerOperator(
        task_id="load",
        image="busybox:1-musl",
        entrypoint=["sh", "-ec"],
        command=[LOAD],
        # In variables, the values cannot change the script. Several exports have no path: pass "{{ (…)['paths'] | join('\n') }}".
        environment={
            "FILE": "{{ (ti.xcom_pull(task_ids='export') | from_json)['path'] or '' }}",
            "STATUS": "{{ (ti.xcom_pull(task_ids='export') | from_json)['status'] }}",
        },
        **CONTAINER,
    )

    export >> load


webadmit_docker()
