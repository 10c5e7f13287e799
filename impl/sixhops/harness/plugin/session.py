"""What a whole pytest run adds up to: every planned scenario reported, one exit code, results on disk.

The same object serves the three kinds of process that pytest has. Alone, it does everything. In an xdist
worker it runs the target and hands its part to the controller through `workeroutput`. In the controller it
puts the parts together. In a run without scenarios it sees no scenario report and does nothing.
"""

# ruff: noqa: PLC0415 - imports wait until they are needed: every pytest run of the environment loads the
# plugin

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sixhops.harness.plugin.collect import ScenarioItem, default_root, has_suite, suite_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sixhops.harness.plugin.baseline import Baseline
    from sixhops.harness.plugin.live import Room
    from sixhops.harness.plugin.outcome import Outcome

__all__ = ["SessionReport", "room_of"]

_ROOM = pytest.StashKey["Room"]()
_UNSELECTIVE = {
    "keyword": "",
    "markexpr": "",
    "deselect": None,
    "ignore": None,
    "ignore_glob": None,
    "lf": False,
    "stepwise": False,
    "repeat": 1,
}


def room_of(config: pytest.Config) -> Room:
    """Return the process's room, where scenarios run; made with the first scenario."""
    if _ROOM not in config.stash:
        from sixhops.harness.plugin.live import Room

        library = suite_of(config).library
        config.stash[_ROOM] = Room(
            name=config.getoption("target"),
            results=results_folder(config),
            keep_state=config.getoption("keep_state"),
            taps=config.getoption("taps"),
            library=library,
            seams=config.hook,
            worker=getattr(config, "workerinput", {}).get("workerid", "main"),
            baseline=baseline_of(config),
        )
    return config.stash[_ROOM]


_BASELINE = pytest.StashKey["Baseline | None"]()


def baseline_of(config: pytest.Config) -> Baseline | None:
    """Return what --baseline names, read once in each process; None without it. Raises UsageError."""
    if _BASELINE not in config.stash:
        from sixhops.harness.plugin.baseline import read_baseline

        given: Path | None = config.getoption("baseline")
        config.stash[_BASELINE] = None if given is None else read_baseline(given)
    return config.stash[_BASELINE]


_RESULTS = pytest.StashKey[Path]()


def results_folder(config: pytest.Config) -> Path:
    """Return where this run's files go: the same in all workers, named by the controller."""
    if _RESULTS not in config.stash:
        from sixhops.harness.plugin.folders import new_run_folder

        given: Path | None = config.getoption("results")
        handed_on = getattr(config, "workerinput", {}).get("sixhops_results")
        if handed_on:
            config.stash[_RESULTS] = Path(handed_on)
        else:
            config.stash[_RESULTS] = (
                given.absolute() if given else new_run_folder(config.rootpath / "results")
            )
    return config.stash[_RESULTS]


class SessionReport:
    """Collects what scenarios report and turns it into the session's result.

    `problems` are sentences about the run as a whole; any of them makes a run fail that would have passed.
    `errors` are lines about malformed files.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.worker = hasattr(config, "workerinput")
        self.started = time.time()
        self.planned: Sequence[str] = ()
        self.reported: set[str] = set()
        self.outcomes: list[Outcome] = []
        self.errors: list[str] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.unreachable: str = ""
        #: The places of the rules that the target's profiles have.
        self.rules: list[str] = []
        self.results: Path | None = None
        self.total = 0
        self._interrupted = False
        self._failures = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Show a line for each scenario on a terminal and in CI, where somebody watches."""
        if not self.worker and self.config.option.verbose == 0 and names_the_suite(self.config):
            from sixhops.harness.plugin.summary import is_watched

            if is_watched(self.config):
                self.config.option.verbose = 1

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Run nothing at all when a scenario file is malformed."""
        if has_suite(config):
            suite = suite_of(config)
            if names_the_suite(config):
                self.total = len({scenario.id for scenario in suite.library.everything()})
            self.errors = suite.errors
            if self.errors:
                items.clear()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the plan."""
        self.planned = [item.nodeid for item in session.items]
        if has_suite(self.config):
            # The suite stays until the end; whoever looks for garbage from here on need not look through all of it.
            gc.freeze()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the run's files go."""
        node.workerinput["sixhops_results"] = str(results_folder(self.config))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Note the plan that a worker has made; xdist itself refuses workers that disagree."""
        self.planned = ids

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker found out about its files and its target."""
        part = getattr(node, "workeroutput", {}).get("sixhops")
        if part:
            self.errors = list(dict.fromkeys([*self.errors, *part["errors"]]))
            self.problems.extend(part["problems"])
            self.unreachable = self.unreachable or part["unreachable"]
            self.rules = list(dict.fromkeys([*self.rules, *part["rules"]]))
            self.total = max(self.total, part["total"])

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell a person's Ctrl-C from pytest's own ways to stop early, which are subclasses of it."""
        self._interrupted = excinfo.type is KeyboardInterrupt or "received keyboard-interrupt" in str(
            excinfo.value
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the outcome on the report, in a form that travels from a worker to the controller."""
        report = yield
        if isinstance(item, ScenarioItem) and call.when == "call" and item.outcome is not None:
            outcome = item.outcome
            report.sixhops = outcome.to_data()  # type: ignore[attr-defined] # reports carry what plugins put there
            report.user_properties.extend(
                (("scenario", outcome.path), ("verdict", outcome.verdict), ("target", outcome.target))
            )
            if outcome.verdict in ("skipped", "known", "unreachable"):
                path, line, _ = item.reportinfo()
                report.outcome = "skipped"
                report.longrepr = (str(path), line + 1, f"Skipped: {outcome.brief}")
            if outcome.verdict == "known":
                report.wasxfail = outcome.brief
            if outcome.verdict == "unreachable":
                item.session.shouldstop = "there is no target"
                self.unreachable = outcome.brief
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was reported; a setup that passed is no verdict yet."""
        self._failures = self._failures or report.failed
        if report.when != "setup" or report.outcome != "passed":
            self.reported.add(report.nodeid)
        data = getattr(report, "sixhops", None)
        if data is not None:
            from sixhops.harness.plugin.outcome import Outcome
            from sixhops.harness.plugin.summary import ScenarioRepr

            outcome = Outcome.from_data(data)
            self.outcomes.append(outcome)
            if report.failed:
                report.longrepr = ScenarioRepr(outcome)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        """Name the verdict in pytest's progress output, with the time that it took."""
        data = getattr(report, "sixhops", None)
        if data is None:
            return None
        from sixhops.harness.plugin.summary import status_of

        return status_of(data)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop the target, judge the run as a whole, and decide the exit code."""
        room = self.config.stash.get(_ROOM, None)
        if room is not None:
            self.problems.extend(room.close())
            self.rules = room.rules
        if self.worker:
            self._hand_over()
        elif self.outcomes or self.errors or self.problems or self.unreachable or has_suite(self.config):
            session.exitstatus = self._conclude(int(exitstatus))

    def _hand_over(self) -> None:
        output: dict[str, Any] = getattr(self.config, "workeroutput")  # noqa: B009 - xdist adds it to the config
        output["sixhops"] = {
            "errors": self.errors,
            "problems": self.problems,
            "unreachable": self.unreachable,
            "rules": self.rules,
            "total": self.total,
        }

    def _conclude(self, exitstatus: int) -> int:
        from sixhops.harness.integrity import Exit, unreported, worst_exit
        from sixhops.harness.plugin.results import write_results

        codes = [self._cleaned(exitstatus)]
        missing = unreported(self.planned, self.reported)
        stopped = self._interrupted or self.unreachable or codes[0] != Exit.OK
        if missing and not stopped and not self.config.option.collectonly:
            self.problems.append(
                f"{len(missing)} planned scenarios have no verdict: {', '.join(missing[:5])}"
            )
        if not missing and self.outcomes and is_full_run(self.config):
            self._compare_counts()
            self._compare_rules()
        self._compare_baseline(complete=not missing)
        if self.problems:
            codes.append(Exit.FAILED)
        if self.errors or self.unreachable or any(item.fault == "scenario" for item in self.outcomes):
            codes.append(Exit.USAGE)
        if any(item.fault == "sixhops" for item in self.outcomes):
            codes.append(Exit.INTERNAL)
        code = worst_exit(codes)
        ran = [outcome for outcome in self.outcomes if outcome.verdict != "unreachable"]
        if ran or self.problems:
            folder = results_folder(self.config)
            self.results = write_results(
                folder,
                target=self.config.getoption("target"),
                code=code,
                started=self.started,
                outcomes=ran,
                problems=self.problems,
            )
            if self.config.getoption("sixhops_report") is not None:
                code = worst_exit((code, self._report(folder, ran)))
        return code

    def _compare_baseline(self, *, complete: bool) -> None:
        baseline = baseline_of(self.config)
        if baseline is not None and self.outcomes:
            is_full = complete and is_full_run(self.config)
            self.problems.extend(baseline.problems(self.outcomes, is_full=is_full))
            self.notes.extend(baseline.notes(self.outcomes))

    def _report(self, folder: Path, outcomes: Sequence[Outcome]) -> int:
        """Write the report of this run's transcripts; return an exit code."""
        from sixhops.harness.errors import UsageError
        from sixhops.harness.integrity import Exit
        from sixhops.harness.report import gather, write_report

        written = [folder / outcome.transcript for outcome in outcomes if outcome.transcript]
        if not written:
            self.notes.append("no report: there is no transcript")
            return Exit.OK
        try:
            made = gather(written, with_differences=False)
            page = write_report(made, self.config.getoption("sixhops_report"))
        except UsageError as error:
            self.problems.append(str(error))
            return Exit.USAGE
        self.notes.extend(made.problems)
        self.notes.append(f"report: {page}")
        return Exit.FAILED if made.problems else Exit.OK

    def _cleaned(self, exitstatus: int) -> int:
        # pytest calls it "interrupted" too when a run stops early by itself: -x under xdist, or our
        # unreachable target.
        from sixhops.harness.integrity import Exit

        if exitstatus == Exit.INTERRUPTED and not self._interrupted:
            if self.unreachable:
                return Exit.OK
            if self._failures:
                return Exit.FAILED
        return exitstatus

    def _compare_counts(self) -> None:
        from sixhops.harness.integrity import Counts, compare_counts, read_counts, target_kind, write_counts

        skips: dict[str, int] = {}
        for outcome in self.outcomes:
            for reason in outcome.skips:
                skips[reason] = skips.get(reason, 0) + 1
        seen = Counts(len({outcome.id for outcome in self.outcomes}), skips)
        path = (self.config.getoption("scenarios") or default_root(self.config)) / "counts.yaml"
        kind = target_kind(self.config.getoption("target"))
        if seen.scenarios < self.total:
            self.problems.append(f"{seen.scenarios} scenarios ran, but the scenario folder has {self.total}")
        if self.config.getoption("accept_counts"):
            write_counts(path, kind, seen)
            self.notes.append(f"recorded {seen.scenarios} scenarios for {kind} in {path}")
        else:
            self.problems.extend(compare_counts(read_counts(path), kind, seen))

    def _compare_rules(self) -> None:
        from sixhops.harness.plugin.rules import stale_rules

        library = suite_of(self.config).library
        rules = [
            rule for profile in library.profiles for rule in profile.rules if str(rule.mark) in self.rules
        ]
        used = {known.rule for outcome in self.outcomes for known in outcome.known}
        reported = {outcome.id for outcome in self.outcomes}
        self.problems.extend(stale_rules(rules, used, reported, library.everything()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what the verdicts add up to."""
        from sixhops.harness.plugin.summary import write_summary

        write_summary(terminalreporter, self)


def names_the_suite(config: pytest.Config) -> bool:
    """Return whether the command line names the whole suite: the conformance folder or the scenario root."""
    start = config.invocation_params.dir
    root = (config.getoption("scenarios") or default_root(config)).resolve()
    whole = (config.rootpath / "conformance", root)
    return any("::" not in argument and (start / argument).resolve() in whole for argument in config.args)


def is_full_run(config: pytest.Config) -> bool:
    """Return whether nothing narrows the suite down, so that its counts mean something."""
    selects = any(
        (getattr(config.option, name, neutral) or neutral) != neutral
        for name, neutral in _UNSELECTIVE.items()
    )
    return names_the_suite(config) and not selects
