"""The house, as its imports draw it: which folder stands on which.

    python -m tests.house

prints the folders of greensock/ from the top to the bottom, each with what it is for, and with the
folders whose modules it imports at run time.
"""

from tests.test_architecture import LAYERS, all_imports, layer, modules, own_module, parsed


def folder_of(module: str) -> str:
    """The folder that a module lies in; of one beside greensock/__init__.py, itself."""
    path = modules()[module]
    return (
        module if path.stem == "__init__" or module.count(".") == 1 else module.rpartition(".")[0]
    )


def purpose_of(folder: str) -> str:
    """The first line of its docstring."""
    for node in parsed(modules()[folder]).body[:1]:
        value = getattr(getattr(node, "value", None), "value", "")
        return str(value).partition("\n")[0]
    return ""


def stands_on() -> dict[str, set[str]]:
    """The folders, and what each imports."""
    found: dict[str, set[str]] = {folder_of(name): set() for name in modules()}
    for each in all_imports():
        target = own_module(each.target)
        if target is not None and not each.only_types:
            found[folder_of(each.importer)].add(folder_of(target))
    return {folder: others - {folder} for folder, others in found.items()}


def drawing() -> str:
    """One paragraph a folder, the highest first."""
    below = stands_on()
    paragraphs = []
    for folder in sorted(below, key=lambda name: (-layer(name), name)):
        names = sorted((each.removeprefix("greensock.") for each in below[folder]), key=str)
        paragraphs.append(
            f"{folder.removeprefix('greensock.')}  ({LAYERS[layer(folder)]})\n"
            f"    {purpose_of(folder)}\n"
            f"    stands on: {', '.join(names) or 'nothing'}"
        )
    return "\n".join(paragraphs)


if __name__ == "__main__":
    print(drawing())
