"""Imports the example DAGs with the real operators, and runs each once, for scripts/check-airflow.

A local process takes the place of each pod or container: it gets the command and the variables of the operator, with the templates
rendered by Airflow, and temporary folders in place of the mounts. Everything else is Airflow: the import, the arguments of the
operators, the order of the tasks, XComs, connections, the masking of secrets.

Arguments: the folder of the programs, the API key, the base URL, and how the runs of the stand-in end: success, failure or no-file, a
failure that the input fail-on accepts. With stop, they do not end: the task of the DockerOperator gets SIGTERM.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import AirflowException
from airflow.models.xcom import XComModel
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.utils.session import create_session

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAGS = ["webadmit_docker", "webadmit_kubernetes"]
PROGRAMS, KEY, BASE_URL, ENDING = sys.argv[1:]


class Volumes:
    """A temporary folder in place of the volumes, which both tasks of a DAG mount."""

    def __init__(self):
        self.root = tempfile.mkdtemp()
        self.folders = ["/files", "/airflow/xcom"]
        for folder in self.folders:
            pathlib.Path(self.root + folder).mkdir(parents=True)

    def local(self, text):
        return re.sub(rf"(?<![\w/.-])(?={'|'.join(self.folders)})", self.root, text)

    def run(self, command, directory, variables):
        """Runs a command. Prints its output and returns it."""
        with self.start(command, directory, variables) as process:
            output = process.stdout.read()
        print(output)
        if process.returncode:
            raise AirflowException(f"exit code {process.returncode}")
        return output

    def start(self, command, directory, variables):
        environment = {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "INPUT_BASE_URL": BASE_URL,
            "INPUT_POLL_INTERVAL": "100ms",
            # If a signal does not reach the program.
            "INPUT_TIMEOUT": "1m",
            "INPUT_FAIL_ON": "none" if ENDING == "no-file" else "failed",
            **{name: self.local(value) for name, value in variables.items()},
        }
        return subprocess.Popen(
            [self.local(word) for word in command],
            cwd=self.local(directory),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


volumes = Volumes()


def run_pod(operator, context):
    pod = operator.build_pod_request_obj(context).to_dict()["spec"]
    container = next(container for container in pod["containers"] if container["name"] == "base")
    variables = {}
    for item in container["env"] or []:
        if item["value_from"]:
            reference = item["value_from"]["secret_key_ref"]
            assert (reference["name"], reference["key"]) == ("webadmit", "api-key"), reference
            variables[item["name"]] = KEY
        else:
            variables[item["name"]] = item["value"]
    # Without a command, a container runs the entrypoint of its image.
    command = container["command"] or ["webadmit-export"]
    # The working directory of the image is the root.
    volumes.run([*command, *(container["args"] or [])], volumes.root, variables)
    if operator.do_xcom_push:
        return json.loads(pathlib.Path(volumes.root, "airflow/xcom/return.json").read_text())
    return None


def run_docker(operator, context):
    output = volumes.run([*operator.entrypoint, *operator.command], operator.working_dir, operator.environment)
    return output.splitlines()[-1] if operator.do_xcom_push else None


def import_dags():
    bag = DagBag(ROOT / "examples/engines/airflow")
    assert not bag.import_errors, bag.import_errors
    assert sorted(bag.dags) == DAGS, sorted(bag.dags)
    return bag.dags


def xcom(run):
    """Returns the XCom of the first task, if it has one. That of a container is a string with JSON in it."""
    with create_session() as session:
        query = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, task_ids="export", key="return_value")
        return [parse(row.value) for row in session.scalars(query)]


def parse(value):
    return parse(json.loads(value)) if isinstance(value, str) else value


def check(dag):
    run = dag.test()
    states = {instance.task_id: str(instance.state) for instance in run.get_task_instances()}
    files = list(pathlib.Path(volumes.root, "files/exports").glob("*"))
    if ENDING in ("success", "no-file"):
        [outputs] = xcom(run)
        expected = ("available", 2053) if ENDING == "success" else ("failed", None)
        assert (outputs["status"], outputs["size"]) == expected, outputs
        assert states == {"export": "success", "load": "success"}, states
        # The second task deletes the files.
        assert not files, f"the file was not deleted: {files}"
    else:
        assert states == {"export": "failed", "load": "upstream_failed"}, states
        assert not xcom(run) and not files, (xcom(run), files)


def check_stop(dag):
    """Stops the first task like Docker, with SIGTERM to the first process of its container."""
    operator = dag.get_task("export")
    variables = operator.environment | {"INPUT_API_KEY": KEY}
    with volumes.start([*operator.entrypoint, *operator.command], operator.working_dir, variables) as process:
        while "status: queued" not in (line := process.stdout.readline()):
            assert line, "the run did not start"
        process.terminate()
        assert process.wait() == 143, process.returncode
        print(process.stdout.read())
    outputs = json.loads(pathlib.Path(volumes.root, "files/outputs.json").read_text())
    assert outputs["status"] == "queued", outputs


KubernetesPodOperator.execute = run_pod
DockerOperator.execute = run_docker
for dag in import_dags().values():
    if ENDING != "stop":
        check(dag)
    elif dag.dag_id == "webadmit_docker":
        check_stop(dag)
    print(f"ok: {dag.dag_id}: {ENDING}")
