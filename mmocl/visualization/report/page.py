"""Write a report as one HTML page that needs nothing else."""

import base64
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from mmocl.evaluation.json_values import null_for_nan
from mmocl.visualization.report.content import Difference, Missing, Report
from mmocl.visualization.report.tables import SCORE_NAMES, collapse_html, note, scores_html


def render(report: Report) -> str:
    """Draw a report.

    Everything that comes from files is escaped, and the page forbids all scripts but its own, and
    all requests.

    Args:
        report: What to draw.

    Returns:
        HTML.
    """
    style, script = _resource('page.css'), _resource('page.js')
    data = {
        'charts': [asdict(chart) for chart in report.charts],
        'images': [asdict(image) for image in report.images],
        'colors': report.colors,
        'names': {key: name for key, (name, _) in SCORE_NAMES.items()},
    }
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'"
    )
    now = datetime.now(UTC).isoformat(' ', 'minutes')[:16]
    return Template(_resource('page.html')).substitute(
        policy=policy,
        style=style,
        script=script,
        data=_json(data),
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        summary=_summary(report),
        curves=_missing(report, 'curves') + note(report.curves_note),
        scores=_missing(report, 'scores') + scores_html(report),
        gallery=_missing(report, 'gallery') + note(report.gallery_note),
        toolbar='' if report.images else 'hidden',
        collapse=_missing(report, 'collapse') + collapse_html(report.collapse),
        config=escape(report.config),
        made=escape(f'mmocl {report.made_by["mmocl"]}, {now} UTC'),
    )


def _summary(report: Report) -> str:
    rows = ''.join(
        f'<div><dt>{escape(fact.name)}</dt><dd>{escape(fact.value)}</dd></div>'
        for fact in report.facts
    )
    return (
        f'{_missing(report, "summary")}<dl class="facts">{rows}</dl>{_changes(report.differences)}'
    )


def _changes(differences: list[Difference]) -> str:
    if not differences:
        return ''
    rows = ''.join(
        f'<tr><th scope="row"><code>{escape(one.key)}</code></th>'
        f'<td><code>{_or_none(one.shipped)}</code></td><td><code>{_or_none(one.run)}</code></td></tr>'
        for one in differences
    )
    number = len(differences)
    return (
        f'<details><summary>{number} {"setting differs" if number == 1 else "settings differ"} '
        'from the shipped config</summary><div class="scroll"><table class="changes"><thead><tr>'
        f'<th scope="col">Setting</th><th scope="col">Shipped</th><th scope="col">This run</th>'
        f'</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _or_none(value: str | None) -> str:
    return '-' if value is None else escape(value)


def _missing(report: Report, section: str) -> str:
    return ''.join(_lack(one) for one in report.missing.get(section, []))


def _lack(one: Missing) -> str:
    command = f'<pre class="command">{escape(one.command)}</pre>' if one.command else ''
    return f'<div class="missing"><p>{escape(one.what)}: {escape(one.why)}.</p>{command}</div>'


def _json(content: Any) -> str:
    """Strict JSON that cannot end the element that holds it."""
    text = json.dumps(null_for_nan(content), allow_nan=False, separators=(',', ':'))
    return text.replace('<', '\\u003c')


def _hash(text: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')
