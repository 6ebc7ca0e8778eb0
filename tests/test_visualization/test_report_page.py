"""The report page in a real browser."""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from mmocl.structures import SlotDataSample
from mmocl.visualization.drawing import palette
from mmocl.visualization.report import render
from mmocl.visualization.report.content import (
    Chart,
    Collapse,
    CollapseRow,
    Curve,
    Difference,
    Fact,
    GalleryImage,
    Missing,
    Report,
    Score,
    ScoreTable,
)
from mmocl.visualization.report.gallery import gallery_image
from mmocl.visualization.report.selection import Choice

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    *('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
)
EVIL = '</script></pre><script>window.evil = 1</script><img src=x onerror="window.evil = 2">"\''
NUM_SLOTS = 3


def example_image(name: str, labels: list[str]) -> GalleryImage:
    """Slots that are vertical stripes after the first update, horizontal ones after the second."""
    stripes = torch.zeros(NUM_SLOTS, 6, 6)
    for k in range(NUM_SLOTS):
        stripes[k, :, 2 * k : 2 * k + 2] = 1
    sample = SlotDataSample(metainfo={'img_id': name, 'crop': 'squash'})
    sample.pred_steps = torch.stack([stripes, stripes.mT])
    sample.pred_attn = PixelData(data=stripes.mT)
    sample.pred_masks = PixelData(data=stripes.mT)
    active = torch.tensor([True, True, False])
    sample.pred_slots = InstanceData(weight=torch.tensor([0.5, 0.3, 0.2]), active=active)
    masks = torch.zeros(1, 120, 120, dtype=torch.bool)
    masks[0, 30:90, 30:90] = True
    sample.gt_objects = InstanceData(masks=masks)
    void = torch.zeros(1, 120, 120, dtype=torch.bool)
    void[:, 100:] = True
    sample.gt_void = PixelData(data=void)
    record = {'img_id': name, 'fg_ari': -0.123, 'attn_fg_ari': None}
    picture = np.full((120, 120, 3), 60, np.uint8)
    return gallery_image(Choice(0, labels, record), picture, sample)


def example(text: str = EVIL) -> Report:
    """A page that says the text wherever text from files comes in."""
    curves = [
        Curve(f'{text}{name}', [0, 10, 20, 30], [1.0, None, value, 1e-4])
        for name, value in (('loss_a', 0.5), ('loss_b', -0.25))
    ]
    return Report(
        title=text,
        subtitle=text,
        facts=[Fact(text, text * 3)],
        config=f'note = {text!r}',
        differences=[Difference(text, text, None)],
        charts=[Chart(text, curves, [curve.name for curve in curves])],
        curves_note=text,
        tables=[
            ScoreTable(
                text,
                text,
                ['decoder', text],
                {
                    'fg_ari': {'decoder': Score(0.5, 0.4, 0.6), text: Score(None)},
                    text: {text: Score(-0.1)},
                },
            )
        ],
        other_scores={text: None},
        scores_note=text,
        images=[example_image('a', ['worst 1']), example_image(text, [])],
        gallery_note=text,
        colors=[f'#{r:02x}{g:02x}{b:02x}' for r, g, b in palette(NUM_SLOTS).tolist()],
        collapse=Collapse(text, [CollapseRow(text, text, text, 0.5, {'decoder': 0.7})], [text]),
        missing={'summary': [Missing(text, text, text)]},
        made_by={'mmocl': text},
    )


@pytest.fixture(scope='module')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    driver = shutil.which('chromedriver')
    if not found or not driver:
        why = f'the page is tested in a browser: one of {BROWSERS} and chromedriver must be in PATH'
        if os.environ.get('CI'):
            pytest.fail(why)
        pytest.skip(why)
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for flag in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("profile")}'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as chrome:
        yield chrome


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('page') / 'report.html'
    path.write_text(render(example()), encoding='utf-8')
    return path


@pytest.fixture
def page(browser, file) -> webdriver.Chrome:
    browser.get(file.as_uri())
    wait(browser, 'masks 1')
    return browser


def wait(page: webdriver.Chrome, drawn: str) -> None:
    """Until the picture of the first card is what it should be."""
    canvas = page.find_element(By.CSS_SELECTOR, '.card canvas')
    # Pictures are drawn when they come into view.
    page.execute_script('arguments[0].scrollIntoView()', canvas)
    WebDriverWait(page, 10).until(lambda _: canvas.get_attribute('data-drawn') == drawn)


def find(page: webdriver.Chrome, selector: str) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, selector)


def pixels(page: webdriver.Chrome) -> np.ndarray:
    """The picture of the first card, RGB."""
    uri = page.execute_script("return document.querySelector('.card canvas').toDataURL()")
    picture = Image.open(BytesIO(base64.b64decode(uri.split(',')[1])))
    return np.asarray(picture.convert('RGB'))


def shares(page: webdriver.Chrome) -> list[float]:
    """How much of the picture has the colour of every slot."""
    shown = pixels(page)
    return [float((shown == color).all(-1).mean()) for color in palette(NUM_SLOTS)]


def opaque(page: webdriver.Chrome) -> None:
    """Draw colours alone; the slider is moved by keyboard."""
    find(page, '#toolbar input')[-1].send_keys(Keys.END)
    WebDriverWait(page, 10).until(lambda _: max(shares(page)) > 0.2)


def test_the_page_loads_without_errors_and_without_requests(page) -> None:
    assert [entry for entry in page.get_log('browser') if entry['level'] == 'SEVERE'] == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert len(find(page, '.card')) == 2
    assert len(find(page, '.curve')) == 2
    assert not find(page, '[src^="http"], [href^="http"], link:not([rel=icon])')


def test_text_from_files_is_only_shown(page) -> None:
    assert page.execute_script('return window.evil') is None
    assert not find(page, 'img')
    assert find(page, 'h1')[0].text == EVIL
    assert find(page, '.card .name')[1].text == EVIL
    # Even a script that got in would not run.
    blocked = "const s = document.createElement('script'); s.textContent = 'window.evil = 3';"
    page.execute_script(f'{blocked} document.body.append(s)')
    assert page.execute_script('return window.evil') is None
    assert page.get_log('browser')  # of what was blocked


def test_the_slider_shows_every_update(page) -> None:
    last = pixels(page)
    slider = find(page, '.card input[type=range]')[0]
    slider.send_keys(Keys.HOME)
    wait(page, 'attention 0')
    assert find(page, '.card output')[0].text == '1 of 2'
    opaque(page)
    vertical = pixels(page)
    slider.send_keys(Keys.END)
    wait(page, 'attention 1')
    horizontal = pixels(page)
    assert (vertical != last).any()
    first = palette(1)[0]
    # Away from the dark line between two slots.
    inside = slice(10, 100)
    assert (vertical[:, inside] == first).all()
    assert (horizontal[inside] == first).all()
    # The toolbar moves all of them.
    find(page, '#toolbar input')[0].send_keys(Keys.HOME)
    wait(page, 'attention 0')
    assert (pixels(page) == vertical).all()


def test_a_slot_can_be_hidden(page) -> None:
    opaque(page)
    before = shares(page)
    assert min(before[:2]) > 0.25
    assert before[2] == 0  # it was pruned, and has no pixels
    (chip,) = [one for one in find(page, '.card:first-child .slots button') if '30 %' in one.text]
    assert chip.get_attribute('aria-label') == 'slot 1, mixing weight 30 per cent'
    assert chip.get_attribute('aria-pressed') == 'true'
    chip.send_keys(Keys.SPACE)
    assert chip.get_attribute('aria-pressed') == 'false'
    WebDriverWait(page, 10).until(lambda _: shares(page)[1] == 0)
    assert shares(page)[::2] == pytest.approx(before[::2], abs=0.02)
    # The picture is there instead.
    assert (np.abs(pixels(page)[192, 192].astype(int) - 60) < 4).all()


def test_true_objects_are_shown_with_their_own_toggles(page) -> None:
    find(page, '.card button[data-value=truth]')[0].click()
    wait(page, 'truth 1')
    opaque(page)
    assert shares(page)[0] == pytest.approx(0.25, abs=0.03)
    assert shares(page)[1:] == [0, 0]
    assert (pixels(page)[-16:] == 128).all()  # not annotated
    assert [one.text for one in find(page, '.card:first-child .slots button')] == ['object 1']


def test_curves_tell_their_values(page) -> None:
    plot = find(page, '.chart svg')[0]
    plot.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    tip = find(page, '.tip')[0].text
    assert 'iteration 20' in tip
    assert '0.5' in tip
    low = find(page, '.curve')[0].get_attribute('d')
    find(page, 'button.log')[0].click()
    assert find(page, '.curve')[0].get_attribute('d') != low
    find(page, '.legend button')[0].click()
    assert len(find(page, '.curve')) == 1


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_it_fits_a_phone(page, scheme) -> None:
    size = {'width': 390, 'height': 800, 'deviceScaleFactor': 2, 'mobile': True}
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    try:
        page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
        page.refresh()
        wait(page, 'masks 1')
        assert page.execute_script('return document.documentElement.scrollWidth') == 390
        paper = page.execute_script('return getComputedStyle(document.body).backgroundColor')
        assert (max(map(int, re.findall(r'\d+', paper))) < 60) == (scheme == 'dark')
    finally:
        page.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        page.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


def test_the_data_is_strict_json(file) -> None:
    html = file.read_text(encoding='utf-8')
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    data = json.loads(text, parse_constant=refuse)
    assert data['charts'][0]['curves'][0]['values'] == [1.0, None, 0.5, 1e-4]
    assert data['images'][1]['name'] == EVIL
    assert html.count('<script') == 2
