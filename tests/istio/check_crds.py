"""Checks every document of the given YAML files against Istio's CRDs.

The models are made from the CRDs of Istio 1.24, the newest on PyPI. A model silently drops unknown fields, for which
`kubectl` reports `unknown field`, so the document is compared with what the model kept.
"""

import sys

import yaml
from cloudcoil.models.istio.extensions.v1alpha1 import WasmPlugin
from cloudcoil.models.istio.networking.v1 import DestinationRule, ServiceEntry, Sidecar
from cloudcoil.models.istio.networking.v1alpha3 import EnvoyFilter

MODELS = {
    ("extensions.istio.io/v1alpha1", "WasmPlugin"): WasmPlugin,
    ("networking.istio.io/v1", "DestinationRule"): DestinationRule,
    ("networking.istio.io/v1", "ServiceEntry"): ServiceEntry,
    ("networking.istio.io/v1", "Sidecar"): Sidecar,
    ("networking.istio.io/v1alpha3", "EnvoyFilter"): EnvoyFilter,
}

# Values of later versions: the Istio version that added the value, and a value that the models know instead.
# `--istio-1.24` allows no later value.
LATER = {("WasmPlugin", "failStrategy", "FAIL_RELOAD"): ("1.27", "FAIL_CLOSE")}


def differences(given, kept, path):
    """Yields the differences between a document and what a model kept of it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key in given.keys() | kept.keys():
            where = f"{path}.{key}"
            if key not in kept:
                yield f"{where}: unknown field"
            elif key not in given:
                yield f"{where}: was not given"
            else:
                yield from differences(given[key], kept[key], where)
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept)):
            yield from differences(one, other, f"{path}[{index}]")
    elif type(given) is not type(kept) or given != kept:
        yield f"{path}: {given!r} is read as {kept!r}"


def problems(document, may_be_later):
    """Returns the errors of a document."""
    kind = document.get("kind")
    model = MODELS.get((document.get("apiVersion"), kind))
    if model is None:
        return [f"{document.get('apiVersion')} {kind}: unknown kind"]
    for (of, field, value), (_, instead) in LATER.items():
        if may_be_later and kind == of and document["spec"].get(field) == value:
            document["spec"][field] = instead
    try:
        kept = model.model_validate(document)
    except ValueError as error:
        return [str(error)]
    return sorted(differences(document, kept.model_dump(by_alias=True, exclude_unset=True, mode="json"), kind))


def main(arguments):
    may_be_later = "--istio-1.24" not in arguments
    checked, failed = [], False
    for file in (argument for argument in arguments if not argument.startswith("--")):
        with open(file, encoding="utf-8") as stream:
            for document in yaml.safe_load_all(stream):
                checked.append(document["kind"])
                for problem in problems(document, may_be_later):
                    failed = True
                    print(f"{file}: {' '.join(problem.split())}")
    print("checked:", *checked)
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
