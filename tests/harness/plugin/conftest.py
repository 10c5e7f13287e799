from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

FAKE = Path(__file__).with_name("fake_target.py").read_text()

STEPS = """\
    steps:
      - name: ping
        request: GET /_ping
        expect: {expect}
"""


class Inner:
    """A small project in a temporary directory, and pytest run on it as a process of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.log = self.path / "fake.log"
        pytester.makeconftest(FAKE)
        pytester.makepyprojecttoml(
            '[tool.pytest.ini_options]\naddopts = ["--strict-markers", "-p", "no:cacheprovider", "-p", "no:anyio"]\n'
        )
        (self.path / "conformance").mkdir()
        for hop in ("engine", "registry"):
            module = f'from sixhops.harness.plugin import scenarios\n{hop} = scenarios("{hop}")\n'
            (self.path / "conformance" / f"test_{hop}.py").write_text(module)
            (self.path / "scenarios" / hop).mkdir(parents=True)

    def scenario(
        self, name: str, title: str = "passes", expect: str = "{status: 200}", head: str = ""
    ) -> None:
        """Write scenarios/`name`.yaml; `head` are further top-level lines."""
        text = f"title: {title}\n{dedent(head)}{dedent(STEPS)}".replace("{expect}", expect)
        self.write(f"scenarios/{name}.yaml", text)

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def run(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess(*(arguments or ("conformance",)), timeout=180)

    @property
    def calls(self) -> list[str]:
        """What was done to targets: open, close."""
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    monkeypatch.setenv("FAKE_LOG", str(pytester.path / "fake.log"))
    for name in ("SIXHOPS_TARGET", "CI", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    return Inner(pytester)
