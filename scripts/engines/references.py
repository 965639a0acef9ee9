"""Checks what the schemas and models of the engines do not: references between objects, permissions and paths."""

import re

from engines.fields import PERMISSIONS
from engines.values import check_values, fields


def check_references(path, objects):
    """Checks that the names in a file are those of objects in it."""
    names = {(item["kind"], item["metadata"]["name"]) for item in objects}

    def check(kind, name):
        assert (kind, name) in names, f"{path} has no {kind} {name}"

    permissions = {}
    for item in objects:
        check_values(item)
        for field, value in fields(item):
            if field.endswith(".serviceAccountName"):
                check("ServiceAccount", value)
            elif field.endswith(".claimName"):
                check("PersistentVolumeClaim", value)
            elif field.endswith(".volumes.configMap.name"):
                check("ConfigMap", value)
        if item["kind"] == "RoleBinding":
            check(item["roleRef"]["kind"], item["roleRef"]["name"])
            for subject in item["subjects"]:
                # The service account of Airflow is in another namespace.
                if "namespace" not in subject:
                    check(subject["kind"], subject["name"])
        if item["kind"] == "Role":
            for rule in item["rules"]:
                [group] = rule["apiGroups"]
                permissions |= {f"{group}/{resource}": set(rule["verbs"]) for resource in rule["resources"]}
    assert permissions == PERMISSIONS[path], f"the Roles permit {permissions}"


def check_containers(pod, other_paths=()):
    """Checks the mounts of each container, and that its absolute paths are below them or are one of the other paths."""
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    mounted = set()
    for container in pod.get("initContainers", []) + pod["containers"]:
        mounts = container.get("volumeMounts", [])
        for mount in mounts:
            assert mount["name"] in volumes, f"{container['name']} mounts {mount['name']}, which is not a volume"
        mounted |= {mount["name"] for mount in mounts}
        for path in absolute_paths(container):
            below = any(f"{path}/".startswith(f"{mount['mountPath']}/") for mount in mounts)
            assert below or path in other_paths, f"{path} is not below a mount of {container['name']}"
    assert mounted == volumes, f"not mounted: {volumes - mounted}"


def absolute_paths(container):
    """Returns the working directory, the paths in the inputs and those in the command."""
    paths = [container["workingDir"]] if "workingDir" in container else []
    for item in container.get("env", []):
        if re.fullmatch(r"INPUT_(DIRECTORY|OUTPUT_DIRECTORY|OUTPUT_FILE)", item["name"]) and item["value"].startswith("/"):
            paths.append(item["value"])
    for word in container.get("command", []) + container.get("args", []):
        paths += re.findall(r"(?<![\w./$-])/[\w.-]+(?:/[\w.-]+)*", word)
    return paths


def check_argo_references(workflow):
    templates = {template["name"]: template for template in workflow["templates"]}
    assert len(templates) == len(workflow["templates"]), "two templates have the same name"
    assert workflow["entrypoint"] in templates, f"no template {workflow['entrypoint']}"

    for template in templates.values():
        earlier = {}
        for step in [step for parallel in template.get("steps", []) for step in parallel]:
            assert step["template"] in templates, f"no template {step['template']}"
            target = templates[step["template"]]
            arguments, inputs = step.get("arguments", {}), target.get("inputs", {})
            for kind in ["parameters", "artifacts"]:
                given, declared = names(arguments, kind), names(inputs, kind)
                assert given == declared, f"the step {step['name']} has the {kind} {given}, its template {declared}"
            for value in [value for _, value in fields(arguments) if isinstance(value, str) and "{{" in value]:
                match = re.fullmatch(r"\{\{steps\.([\w-]+)\.outputs\.(parameters|artifacts)\.([\w-]+)\}\}", value)
                assert match and match[1] in earlier, f"{value} refers to no earlier step"
                assert match[3] in names(earlier[match[1]]["outputs"], match[2]), f"{value} refers to no output"
            earlier[step["name"]] = target

        for _, value in fields(template):
            for name in re.findall(r"\{\{inputs\.parameters\.([\w-]+)\}\}", value if isinstance(value, str) else ""):
                assert name in names(template.get("inputs", {}), "parameters"), f"{value} refers to no input"
        if "container" in template:
            artifacts = template.get("inputs", {}).get("artifacts", [])
            pod = {"containers": [{"name": template["name"], **template["container"]}], "volumes": template.get("volumes", [])}
            check_containers(pod, [artifact["path"] for artifact in artifacts])


def names(owner, kind):
    return {item["name"] for item in owner.get(kind, [])}
