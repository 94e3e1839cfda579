"""The page as a browser shows it: files go in, what is seen is what the network says."""

import shutil

import numpy as np
import pytest

from aemjax.audio.read import read_audio
from aemjax.serve.page.limits import Limits
from aemjax.serve.page.neighbours import Neighbours
from tests.aemjax.audio.files import RATE, noise, save, tone
from tests.aemjax.serve.page.networks import LABELS, tiny_classifier
from tests.aemjax.serve.page.servers import running
from tests.jobs import ROOT

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
HTML_PATH = "<b>bold</b>.wav"
SCREENSHOT = ROOT / "build" / "screenshots" / "serve.png"

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="no chromium, chromium-browser or google-chrome is installed",
)


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="module")
def url(classifier):
    clips = [noise(RATE, level=0.3), tone(500), tone(3_000)]
    paths = [f"/mine/{HTML_PATH}", "/mine/low.wav", "/mine/high.wav"]
    neighbours = Neighbours(paths, classifier.embed(clips))
    limits = Limits(max_mb=1, max_s=5)
    with running(classifier, limits=limits, neighbours=neighbours) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """The page, whose requests and complaints are looked through at the end."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints, foreign = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))

    def note(request):
        if not request.url.startswith((url, f"blob:{url}")):
            foreign.append(request.url)

    page.on("request", note)
    page.goto(url)
    page.get_by_text("4 classes of made").wait_for()
    yield page
    context.close()
    # That a server refused a file is said by the browser, too.
    assert [text for text in complaints if "422 (Unprocess" not in text] == []
    assert foreign == []


def choose(page, path):
    page.set_input_files("#file", path)
    page.locator("#results:visible, #error:visible").wait_for()


def rows(page, name):
    """(text, number) of each bar of a list."""
    return [
        (row.locator(".name").text_content(), row.locator(".value").text_content())
        for row in page.locator(f"#{name} li").all()
    ]


def colours(page, name):
    """How many colours a canvas has."""
    return page.evaluate(
        """name => {
          const canvas = document.getElementById(name);
          const {data} = canvas.getContext("2d")
              .getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }""",
        name,
    )


def test_a_file_is_shown_as_the_network_sees_it(page, classifier, tmp_path):
    audio = np.concatenate([noise(RATE, level=0.3), tone(500)])
    path = save(tmp_path, audio, name="<i>clip</i>.wav".replace("/", "∕"))
    choose(page, path)
    expected = classifier.classify(read_audio(path), top_k=5)
    assert rows(page, "top") == [(label, f"{p:.3f}") for label, p in expected]
    assert {label for label, _ in rows(page, "top")} == set(LABELS)
    assert page.locator("#clip-title").text_content() == f"{path.name}, 2.00 s"
    names = [name for name, _ in rows(page, "neighbours")]
    assert sorted(names) == sorted([HTML_PATH, "low.wav", "high.wav"])
    assert page.locator("main b, main i, main img").count() == 0
    assert page.locator("#classes div").count() == len(LABELS)
    assert colours(page, "waveform") >= 2
    assert colours(page, "features") > 20 and colours(page, "timeline") > 4
    assert page.evaluate("document.getElementById('player').duration") == 2
    label, _ = classifier.classify(read_audio(path, end_s=1), top_k=1)[0]
    assert (
        page.locator("#moment").text_content().startswith(f"0.00 to 1.00 s: {label} ")
    )
    # A click goes there.
    plot = page.locator("#timeline")
    plot.click(position={"x": 0.9 * plot.bounding_box()["width"], "y": 5})
    page.get_by_text("1.00 to 2.00 s: ").wait_for()
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOT, full_page=True)
    page.select_option("#window", "2")
    page.get_by_text("0.00 to 2.00 s: ").wait_for()


def test_a_file_that_cannot_be_used_is_explained(page, tmp_path):
    good = save(tmp_path, tone(500), name="good.wav")
    choose(page, good)
    assert not page.locator("#error").is_visible()
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    page.set_input_files("#file", bad)
    page.locator("#error:visible").wait_for()
    text = page.locator("#error").text_content()
    assert text.startswith("bad.wav: cannot be read") and "convert it to WAV" in text
    assert not page.locator("#results").is_visible()
    bad.write_bytes(bytes(1_500_000))
    page.set_input_files("#file", bad)
    page.get_by_text("bad.wav has 1.5 MB, expected 1 MB at most. Cut it").wait_for()
    choose(page, good)
    page.locator("#results:visible").wait_for()
    assert not page.locator("#error").is_visible()


def test_an_answer_that_broke_off_is_no_answer(page, tmp_path):
    path = save(tmp_path, tone(500), name="clip.wav")
    page.route("**/api/classify*", lambda route: route.fulfill(body='{"top": ['))
    page.set_input_files("#file", path)
    page.get_by_text("The server's answer broke off. Try again.").wait_for()
    assert not page.locator("#results").is_visible()
    page.unroute("**/api/classify*")
    choose(page, path)
    assert page.locator("#results").is_visible()


def test_a_file_chosen_meanwhile_is_the_one_that_is_shown(page, tmp_path):
    names = ["first.wav", "second.wav"]
    paths = [save(tmp_path, tone(500), name=name) for name in names]
    # The first answer is aborted while its body comes, the second one takes its time.
    page.evaluate(
        """() => {
          const fetched = window.fetch;
          window.fetch = async (url, options) => {
            window.fetch = async (...request) => {
              await new Promise((done) => setTimeout(done, 500));
              return fetched(...request);
            };
            const body = new ReadableStream({start(stream) {
              options.signal.addEventListener(
                  "abort", () => stream.error(options.signal.reason));
            }});
            return new Response(body);
          };
        }"""
    )
    page.set_input_files("#file", paths[0])
    page.get_by_text("Listening to first.wav").wait_for()
    page.set_input_files("#file", paths[1])
    page.wait_for_timeout(200)
    assert page.locator("#status").text_content().startswith("Listening to second.wav")
    page.locator("#results:visible").wait_for()
    assert page.locator("#clip-title").text_content() == "second.wav, 1.00 s"
    assert not page.locator("#error").is_visible()


def test_seeks_start_no_more_frames(page, tmp_path):
    choose(page, save(tmp_path, noise(4 * RATE, level=0.1), name="clip.wav"))
    at_once = page.evaluate(
        """async () => {
          const player = document.getElementById("player");
          player.muted = true;
          await player.play();
          for (let i = 1; i < 8; i++) {
            const sought = new Promise((done) =>
                player.addEventListener("seeked", done, {once: true}));
            player.currentTime = i / 10;
            await sought;
          }
          const asked = window.requestAnimationFrame;
          let n = 0;
          window.requestAnimationFrame = (f) => (n++, asked(f));
          for (let i = 0; i < 10; i++) await new Promise((done) => asked(done));
          window.requestAnimationFrame = asked;
          return n / 10;
        }"""
    )
    assert 0 < at_once <= 1.5
    choose(page, save(tmp_path, tone(500), name="next.wav"))
    assert page.evaluate("document.getElementById('player').paused")


def test_a_dropped_file_is_taken(page):
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["no audio"], "dropped.wav"));
          document.getElementById("drop").dispatchEvent(
              new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
        }"""
    )
    page.get_by_text("dropped.wav: cannot be read").wait_for()


def test_the_microphone_is_recorded(page):
    page.get_by_role("button", name="Record").click()
    page.get_by_text("Recording, 1.").wait_for()
    page.get_by_role("button", name="Stop and classify").click()
    page.locator("#results:visible").wait_for()
    assert page.locator("#clip-title").text_content().startswith("recording.wav, 1.")
    assert colours(page, "features") > 20  # the fake device beeps
    assert 1 <= page.evaluate("document.getElementById('player').duration") < 5
    assert page.get_by_role("button", name="Record").is_enabled()


def test_a_browser_without_a_microphone_says_so(page):
    page.evaluate(
        "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
    )
    page.get_by_role("button", name="Record").click()
    page.get_by_text("gives the microphone only to pages of this machine").wait_for()


def test_a_phone_has_no_sideways_scrolling(page, tmp_path):
    page.set_viewport_size({"width": 360, "height": 740})
    choose(page, save(tmp_path, tone(500), name=f"{'long' * 30}.wav"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
