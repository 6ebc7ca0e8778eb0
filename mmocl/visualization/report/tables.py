"""Tables of a report page as HTML."""

from html import escape

from mmocl.visualization.report.content import Collapse, CollapseRow, Report, Score, ScoreTable
from mmocl.visualization.report.score_names import SCORE_NAMES

_MINUS = '\N{MINUS SIGN}'


def scores_html(report: Report) -> str:
    """Tables of all scores, and what their names mean."""
    parts = [note(report.scores_note)]
    parts += [_table(table) for table in report.tables]
    if report.other_scores:
        rows = ''.join(
            f'<tr><th scope="row"><code>{escape(name)}</code></th><td class="number">'
            f'{_plain(value)}</td></tr>'
            for name, value in report.other_scores.items()
        )
        parts.append(
            '<h3>Other results</h3><div class="scroll"><table class="scores"><tbody>'
            f'{rows}</tbody></table></div>'
        )
    known = {name for table in report.tables for name in table.rows}
    glossary = ''.join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(meaning)}</dd></div>'
        for key, (name, meaning) in SCORE_NAMES.items()
        if key in known
    )
    if glossary:
        parts.append(
            '<details><summary>What the scores mean</summary>'
            f'<dl class="facts glossary">{glossary}</dl></details>'
        )
    return ''.join(parts)


def _table(table: ScoreTable) -> str:
    head = ''.join(f'<th scope="col">{escape(s)} masks</th>' for s in table.sources)
    rows = []
    for key, cells in table.rows.items():
        name = SCORE_NAMES.get(key, (key, ''))[0]
        values = ''.join(f'<td>{_cell(cells.get(source))}</td>' for source in table.sources)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
    return (
        f'<h3>{escape(table.title)}</h3>{note(table.caption)}<div class="scroll">'
        f'<table class="scores"><thead><tr><th scope="col">per cent</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div>'
    )


def _cell(score: Score | None) -> str:
    """A mean in per cent, its interval, and both on a line from 0 to 100."""
    if score is None or score.mean is None:
        return '<span class="number">-</span>'
    mean = 100 * score.mean
    interval = band = ''
    if score.low is not None and score.high is not None:
        low, high = 100 * score.low, 100 * score.high
        interval = f'<span class="interval">[{_fixed(low)}, {_fixed(high)}]</span>'
        left, right = _clip(low), _clip(high)
        band = f'<rect class="band" x="{left:.2f}" y="1" width="{right - left:.2f}" height="6"/>'
    return (
        f'<span class="value"><span class="number">{_fixed(mean)}</span>{interval}</span>'
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" y="3.5" width="100" height="1"/>{band}'
        f'<rect class="mean" x="{_clip(mean) - 0.6:.2f}" width="1.2" height="8"/></svg>'
    )


def collapse_html(collapse: Collapse | None) -> str:
    """What the signs of collapse say, and their values."""
    if collapse is None:
        return ''
    sources = list(dict.fromkeys(s for row in collapse.rows for s in row.values if s != 'slots'))
    items = ''.join(f'<li>{escape(text)}</li>' for text in collapse.found)
    if items:
        verdict = f'<ul class="verdict bad">{items}</ul>'
    elif any(value is not None for row in collapse.rows for value in row.values.values()):
        verdict = '<p class="verdict good">No sign of collapse is above its limit.</p>'
    else:
        verdict = '<p class="verdict">Nothing could be measured.</p>'
    head = ''.join(f'<th scope="col">{escape(source)}</th>' for source in sources)
    rows = ''.join(_sign(row, sources) for row in collapse.rows)
    return (
        f'{note(collapse.where)}{verdict}'
        '<div class="scroll"><table class="scores signs"><thead><tr>'
        f'<th scope="col">a value above its limit says</th>{head}<th scope="col">limit</th>'
        f'</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _sign(row: CollapseRow, sources: list[str]) -> str:
    def cell(value: float | None, span: int = 1) -> str:
        mark = ' above' if value is not None and value > row.above else ''
        spans = f' colspan="{span}"' if span > 1 else ''
        return f'<td class="number{mark}"{spans}>{_plain(value, 2)}</td>'

    if 'slots' in row.values:
        values = cell(row.values['slots'], len(sources))
    else:
        values = ''.join(cell(row.values.get(source)) for source in sources)
    sign = f'<code>{escape(row.name)}</code><span class="words">{escape(row.meaning)}</span>'
    limit = f'<td class="number">{row.above:.2f}</td>'
    return f'<tr><th scope="row">{sign}</th>{values}{limit}</tr>'


def note(text: str) -> str:
    """A paragraph of small print, if there is a text."""
    return f'<p class="note">{escape(text)}</p>' if text else ''


def _fixed(value: float, digits: int = 1) -> str:
    text = f'{value:.{digits}f}'
    return text.replace('-', _MINUS) if float(text) else f'{0:.{digits}f}'


def _plain(value: float | None, digits: int = 4) -> str:
    return '-' if value is None else _fixed(value, digits)


def _clip(value: float) -> float:
    return min(100.0, max(0.0, value))
