"""The page in a real browser: no error, nothing loaded, usable with keys alone, both themes, and quick to open."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from saved_runs import HOSTILE, REAL, Run, call, request
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from test_report_files import failing

from sixhops.harness.report import gather, write_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="there is no browser: apt-get install chromium chromium-driver"
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
SECONDS = 60


@dataclass(slots=True)
class Browser:
    """A browser on one report. `take_errors` returns what the console has said, `requests` what was asked for."""

    driver: Chrome

    def open(self, page: Path, place: str = "") -> None:
        self.driver.get(f"file://{page}{place}")
        self.wait(lambda: self.ready)

    @property
    def ready(self) -> str | None:
        return self.js("return document.documentElement.dataset.ready || null")

    def go(self, place: str, text: str) -> None:
        """Go to another page of the report, and wait for its headline."""
        self.js("location.hash = arguments[0]", place)
        self.wait(lambda: text in self.heading)

    @property
    def heading(self) -> str:
        return str(self.js("return document.querySelector('h1')?.textContent || ''"))

    def wait(self, condition: Any) -> None:
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.02).until(lambda _: condition())

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def worked(self) -> float:
        """Return for how many seconds of processor time the page has worked, once Performance is enabled."""
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        return str(
            self.js("return document.activeElement.getAttribute('aria-label') || document.activeElement.id")
        )

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: Chrome) -> Iterator[Browser]:
    found = Browser(driver)
    found.errors()
    found.requests()
    yield found
    assert found.errors() == []
    asked = [
        url for url in found.requests() if not url.startswith(("file://", "data:", "blob:", "chrome://"))
    ]
    assert asked == []


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the documentation's own run."""
    return write_report(gather([REAL]), tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two runs that differ, one of which fails."""
    folder = tmp_path_factory.mktemp("pair")
    for name, status, extra in (("reference", 200, "a"), ("upstream", 500, "b")):
        run = Run(folder / name, name)
        step = request(0, f"create {HOSTILE}", 0.0, 0.5, status, json={"Id": extra})
        step.messages = [
            call(1, "containerd", "Tasks/Create -> OK", 0.1, 0.3, namespace="moby", request={"id": extra}),
            call(2, "runtime", f"create {HOSTILE} -> 0", 0.2, 0.25, argv=["runc", "create"], log=[b"\xff"]),
        ]
        wrong = {0: failing(0, step.name, HOSTILE)} if status == 500 else None
        run.scenario(
            "engine/a", [step], "failed" if wrong else "passed", wrong, brief=HOSTILE if wrong else ""
        )
        run.scenario("registry/b", [request(0, "pull", 0.0, 0.1)])
    return write_report(gather([folder / "reference", folder / "upstream"]), folder / "report")


def test_the_matrix_is_found_filtered_and_followed_with_keys(browser: Browser, pair: Path) -> None:
    browser.open(pair)
    assert len(browser.all(".matrix tbody tr")) == 2
    browser.press("/")
    browser.wait(lambda: browser.focused() == "Find scenarios")
    browser.press("pull", Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE, "registry/")
    browser.wait(lambda: len(browser.all(".matrix tbody tr")) == 1)
    assert browser.js("return document.getElementById('status').textContent") == "1 of 2 scenarios"
    browser.js("document.querySelector('a.name').focus()")
    browser.press(Keys.ENTER)
    browser.wait(lambda: browser.ready == "scenario")
    assert browser.heading == "about registry/b"
    assert browser.js("return document.activeElement.tagName") == "H1"
    browser.press("u")
    browser.wait(lambda: browser.ready == "matrix" and len(browser.all(".matrix tbody tr")) == 1)


def test_filters_by_verdict_hop_and_difference(browser: Browser, pair: Path) -> None:
    browser.open(pair, "#/?verdict=failed")
    assert [row.text.split("\n")[0] for row in browser.all(".matrix tbody tr")] == ["about engine/a"]
    browser.open(pair, "#/?hop=runtime")
    browser.wait(lambda: len(browser.all(".matrix tbody tr")) == 1)
    for chip in browser.all(".filters button"):
        if chip.text == "differs":
            chip.click()
    browser.wait(lambda: "differs=1" in browser.driver.current_url)


def test_messages_are_opened_with_keys_and_say_what_they_are(browser: Browser, real: Path) -> None:
    browser.open(real, "#/s/walkthrough%2Fhello-world")
    browser.press("j", "j", "j")
    browser.wait(lambda: browser.focused().startswith("dockerd asks containerd: Leases/Create"))
    button = browser.driver.switch_to.active_element
    assert button.get_attribute("aria-expanded") == "false"
    browser.press(Keys.ENTER)
    browser.wait(lambda: button.get_attribute("aria-expanded") == "true")
    details = browser.driver.find_element(By.ID, str(button.get_attribute("aria-controls")))
    assert "A lease keeps containerd's garbage collector away" in details.text
    assert "containerd.io/gc.expire" in details.text
    browser.press(Keys.ENTER)
    browser.wait(lambda: not details.is_displayed())
    browser.press("k")
    browser.wait(lambda: browser.focused().startswith("docker asks dockerd: POST /images/create"))


def test_every_message_of_a_real_run_can_be_opened(browser: Browser, real: Path) -> None:
    for scenario in ("hello-world", "process-tree"):
        browser.open(real, f"#/s/walkthrough%2F{scenario}")
        opened = browser.js(
            "const all = [...document.querySelectorAll('button.message')]; all.forEach((b) => b.click()); return all.length"
        )
        assert opened > 30
        assert len(browser.all(".details")) == opened
    assert browser.all(".tree .comm")[0].text == "sleep"


def test_a_failure_is_marked_at_its_message(browser: Browser, pair: Path) -> None:
    browser.open(pair, "#/s/engine%2Fa?view=1")
    browser.press("f")
    (row,) = browser.all(".marked")
    assert "expected  200" in row.text
    assert "did not hold" in row.find_element(By.CSS_SELECTOR, "button").get_attribute("aria-label")
    assert browser.js("return document.activeElement.classList.contains('notice')")


def test_two_targets_side_by_side_show_what_differs(browser: Browser, pair: Path) -> None:
    browser.open(pair, "#/s/engine%2Fa?view=0,1")
    differing = browser.all(".differs-news")
    assert len(differing) == 2
    label = differing[1].find_element(By.CSS_SELECTOR, "button").get_attribute("aria-label")
    assert label.endswith("Tasks/Create → OK, 1 difference, 1 of them not accepted")
    differing[1].find_element(By.CSS_SELECTOR, "button").click()
    cells = [cell.text for cell in differing[1].find_elements(By.CSS_SELECTOR, ".table.differences tbody td")]
    assert cells[:2] == ["a", "b"]
    assert len(differing[1].find_elements(By.CSS_SELECTOR, ".changed.news")) == 2


def test_texts_of_programs_never_become_markup(browser: Browser, pair: Path) -> None:
    for place in ("#/", "#/s/engine%2Fa?view=1", "#/s/engine%2Fa?view=0,1"):
        browser.open(pair, place)
        browser.js("document.querySelectorAll('button.message').forEach((b) => b.click())")
        assert browser.all("main img, main script") == []
    assert HOSTILE.split("<")[0] in browser.driver.find_element(By.TAG_NAME, "main").text


def test_the_walkthrough_tells_each_step_once(browser: Browser, real: Path) -> None:
    browser.open(real, "#/walkthrough")
    assert browser.heading == "What docker run does"
    titles = [title.text.replace("\n", " ") for title in browser.all(".chapter h2")]
    assert titles[:2] == ["1 The image is not here yet", "2 Pull it"]
    assert titles[-1] == "12 Who is whose parent"
    told = [line.text for line in browser.all(".why")]
    assert len(told) > 15
    assert len(set(told)) == len(told)


def test_both_themes_by_setting_and_by_choice(browser: Browser, real: Path) -> None:
    def paper() -> str:
        return str(browser.js("return getComputedStyle(document.body).backgroundColor"))

    for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(14, 17, 22)")):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.open(real)
        assert paper() == colour
    button = browser.driver.find_element(By.ID, "theme")
    button.click()
    assert (button.text, paper()) == ("Theme: light", "rgb(255, 255, 255)")
    button.click()
    assert (button.text, paper()) == ("Theme: dark", "rgb(14, 17, 22)")
    button.click()
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_what_a_screen_reader_needs_is_there(browser: Browser, pair: Path) -> None:
    for place in ("#/", "#/s/engine%2Fa?view=0,1", "#/s/engine%2Fa?view=1"):
        browser.open(pair, place)
        assert len(browser.all("h1")) == 1
        browser.js("document.querySelectorAll('button.message').forEach((b) => b.click())")
        nameless = browser.js(
            "return [...document.querySelectorAll('button, a, input, select')].filter((e) => e.offsetParent !== null && "
            "!(e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)"
        )
        assert nameless == []
        doubled = browser.js(
            "const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
            "return ids.filter((id, at) => ids.indexOf(id) !== at)"
        )
        assert doubled == []
        assert (
            browser.js(
                "return [...document.querySelectorAll('th')].filter((e) => !e.textContent.trim()).length"
            )
            == 0
        )
        levels = [int(heading.tag_name[1]) for heading in browser.all("main :is(h1, h2, h3, h4)")]
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels
    browser.press("?")
    browser.wait(lambda: browser.js("return document.getElementById('help').open"))
    browser.press(Keys.ESCAPE)
    browser.wait(lambda: not browser.js("return document.getElementById('help').open"))


@pytest.mark.parametrize("width", [400, 1400])
def test_what_came_of_a_call_is_in_sight_on_a_narrow_screen_as_well(
    browser: Browser, pair: Path, width: int
) -> None:
    """Neither the page's edge nor the sign that two runs differ hides it."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for place in ("#/", "#/s/engine%2Fa?view=1", "#/s/engine%2Fa?view=0,1"):
            browser.open(pair, place)
            assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
            assert all(name.size["width"] > 200 for name in browser.all("a.name"))
        assert len(browser.all(".flagged .flag")) == 2
        hidden = browser.js(
            "return [...document.querySelectorAll('.flagged')].filter((half) => {"
            "const [flag, outcome] = ['.flag', '.outcome'].map((part) => half.querySelector(part).getBoundingClientRect());"
            "return outcome.width < 1 || outcome.right > flag.left; }).length"
        )
        assert hidden == 0
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_scenario_that_is_not_in_the_report_is_told(browser: Browser, real: Path) -> None:
    browser.open(real, "#/s/engine%2Fnowhere")

    assert browser.heading == "No such scenario"


def test_a_thousand_scenarios_open_in_under_two_seconds(browser: Browser, tmp_path: Path) -> None:
    """Each with the messages and bodies of the real run of hello-world on two targets.

    Seconds of the page's own thread, since others keep the processors busy as well.
    """
    browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    for name in ("reference", "upstream"):
        text = (
            (REAL / "transcripts/walkthrough/hello-world.jsonl")
            .read_text()
            .replace('"name": "upstream"', f'"name": "{name}"')
        )
        (tmp_path / name / "transcripts").mkdir(parents=True)
        (tmp_path / name / "transcripts/a.jsonl").write_text(text)
    report = gather([tmp_path / "reference", tmp_path / "upstream"], with_differences=False)
    (row,) = report.rows
    for number in range(1000):
        copy = type(row)(
            f"engine/f{number % 25}/s{number}", row.title, row.hop, row.path, row.cells, row.differences
        )
        copy.document = {**row.document, "id": copy.id}
        report.rows.append(copy)
    page = write_report(report, tmp_path / "report")

    browser.open(page)
    worked = browser.worked()
    browser.go("#/s/engine%2Ff1%2Fs26", row.title)

    assert len(browser.all(".step")) == 11
    assert 0 < worked < 2
