"""Reads the examples for workflow engines."""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples/engines"


class UniqueKeys(yaml.SafeLoader):
    """Rejects a key that occurs twice in a mapping, which PyYAML accepts."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            assert keys.count(key) == 1, f"the key {key} occurs twice{node.start_mark}"
        return super().construct_mapping(node, deep)


def documents(text):
    return list(yaml.load_all(text, UniqueKeys))


def read(path):
    return documents((EXAMPLES / path).read_text())


def find_kind(path, kind):
    """Returns the only object of a kind in a file."""
    [document] = [document for document in read(path) if document["kind"] == kind]
    return document


def find(items, name):
    [item] = [item for item in items if item.get("name", item.get("id")) == name]
    return item


def nightly_pipeline_run():
    """Returns the PipelineRun that the ConfigMap of the trigger has as text."""
    return find_kind("tekton/trigger.yaml", "ConfigMap")["data"]["pipelinerun.yaml"]


def unit_settings(kind):
    """Returns the names and values in a unit of systemd: the service or the timer."""
    lines = (EXAMPLES / f"systemd/webadmit-export.{kind}").read_text().splitlines()
    return [line.partition("=")[::2] for line in lines if line and not line.startswith(("#", "["))]
