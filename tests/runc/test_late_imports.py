"""What a container's first process imports late is there before it becomes the root of a user namespace.

That root may be unable to read this program's files (a checkout below /root, which nobody else may enter), and whoever runs
the tests usually can, so it is the imports that are looked at.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sixhops.runc.inside import execute, init

HERE = Path(execute.__file__).parent


def late(path: Path) -> set[str]:
    """Return the modules of ours that functions of a module import."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    nodes = [node for function in functions for node in ast.walk(function)]
    found = {
        f"{one.module}.{name.name}" for one in nodes if isinstance(one, ast.ImportFrom) for name in one.names
    }
    found |= {name.name for one in nodes if isinstance(one, ast.Import) for name in one.names}
    return {name for name in found if name.startswith("sixhops.")}


@pytest.mark.parametrize("path", [HERE / "execute.py", HERE / "init.py"], ids=["operations", "first process"])
def test_what_is_imported_late_is_there_before(path: Path) -> None:
    program = (
        "import sys\n"
        "from sixhops.runc.inside.execute import load_what_operations_import\n"
        "load_what_operations_import()\n"
        "import sixhops.linux.scheduling\n"
        "print(*sys.modules)\n"
    )
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
    )

    wanted = late(path)
    assert wanted
    assert {name for name in wanted if name not in loaded and name.rpartition(".")[0] not in loaded} == set()


def test_that_is_done_before_the_first_process_changes_its_user() -> None:
    text = inspect.getsource(init._prepare)

    assert 0 < text.index("load_what_operations_import()") < text.index("os.setresuid")
    assert 0 < text.index("sixhops.linux.scheduling") < text.index("os.setresuid")
