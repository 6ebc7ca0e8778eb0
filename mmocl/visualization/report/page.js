'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const SVG = 'http://www.w3.org/2000/svg';

  // Text goes into the page as text alone: names of files and settings are never markup.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function shape(tag, attributes = {}, text = '') {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  function swatch(color) {
    const made = element('span', { class: 'swatch' });
    made.style.background = color;
    return made;
  }

  function toggle(content, pressed, change, kind = 'chip') {
    const made = element('button', { type: 'button', class: kind, 'aria-pressed': pressed }, ...content);
    made.addEventListener('click', () => {
      const now = made.getAttribute('aria-pressed') !== 'true';
      made.setAttribute('aria-pressed', now);
      change(now);
    });
    return made;
  }

  function segments(label, choices, chosen, change) {
    const group = element('div', { class: 'segments', role: 'group', 'aria-label': label });
    const buttons = choices.map(([value, text]) => {
      const button = element('button', { type: 'button', 'data-value': value }, text);
      button.addEventListener('click', () => change(value));
      group.append(button);
      return button;
    });
    const select = (value) => {
      for (const one of buttons) one.setAttribute('aria-pressed', one.dataset.value === value);
    };
    select(chosen);
    return { group, select };
  }

  function slider(label, min, max, value, say, change) {
    const input = element('input', { type: 'range', min, max, step: 1, value });
    const output = element('output', {}, say(value));
    const made = element('label', { class: 'slider' }, element('span', {}, label), input, output);
    const set = (next) => {
      input.value = next;
      output.textContent = say(Number(input.value));
    };
    input.addEventListener('input', () => {
      set(input.value);
      change(Number(input.value));
    });
    return { made, set };
  }

  // Curves

  const count = new Intl.NumberFormat('en');

  function amount(value) {
    if (value === null || value === undefined) return 'not finite';
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, 'e').replace('-', '\u2212').replace('e-', 'e\u2212');
    return String(Number(value.toPrecision(4))).replace('-', '\u2212');
  }

  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.8);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(Number((i * step).toPrecision(12)));
    return found;
  }

  function logTicks(low, high) {
    const found = [];
    const parts = Math.log10(high / low) < 2 ? [1, 2, 5] : [1];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const one of parts) {
        const value = one * 10 ** power;
        if (value >= low && value <= high) found.push(value);
      }
    }
    return found.length > 8 ? found.filter((_, i) => i % Math.ceil(found.length / 8) === 0) : found;
  }

  function shortName(name) {
    const short = name.split('/').pop().replace(/^attn_|^collapse_|^(?:.*\.)?loss_/, '');
    return data.names[short] || short.replace(/_/g, ' ');
  }

  function chart(spec) {
    const shown = new Set(spec.shown);
    let logarithmic = false;
    let cursor = null;
    const holder = element('figure', { class: 'chart' });
    const tip = element('div', { class: 'tip', hidden: '', 'aria-live': 'polite' });
    const plot = shape('svg', { tabindex: 0, role: 'img', 'aria-label': `${spec.title} over iterations; arrow keys move the cursor` });
    const caption = element('figcaption', {}, spec.title);
    const positive = spec.curves.some((curve) => curve.values.some((value) => value > 0));
    if (positive) {
      caption.append(toggle(['log'], false, (now) => { logarithmic = now; draw(); }, 'log'));
    }
    const legend = element('div', { class: 'legend' });
    const color = (i) => `var(--c${i % 8})`;
    if (spec.curves.length > 1) {
      spec.curves.forEach((curve, i) => legend.append(toggle([swatch(color(i)), shortName(curve.name)], shown.has(curve.name), (now) => {
        if (now) shown.add(curve.name); else shown.delete(curve.name);
        draw();
      })));
    }
    holder.append(caption, plot, legend, tip);
    let place = null;

    function draw() {
      const width = holder.clientWidth || 440;
      const height = 210;
      const box = { left: 54, right: width - 14, top: 8, bottom: height - 24 };
      const usable = (value) => value !== null && (!logarithmic || value > 0);
      const curves = spec.curves.map((curve, i) => ({ ...curve, color: color(i), dash: i >= 8 })).filter((curve) => shown.has(curve.name));
      plot.setAttribute('viewBox', `0 0 ${width} ${height}`);
      plot.replaceChildren();
      const values = curves.flatMap((curve) => curve.values.filter(usable));
      const steps = spec.curves.flatMap((curve) => [curve.steps[0], curve.steps[curve.steps.length - 1]]);
      place = null;
      if (!values.length) {
        plot.append(shape('text', { x: box.left, y: 30 }, 'nothing to draw'));
        return;
      }
      let low = values.reduce((a, b) => Math.min(a, b));
      let high = values.reduce((a, b) => Math.max(a, b));
      const first = Math.min(...steps);
      const last = Math.max(...steps, first + 1);
      if (logarithmic) {
        if (high / low < 1.01) { low /= 1.5; high *= 1.5; }
      } else {
        const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
        low = low >= 0 && low - room < 0 ? 0 : low - room;
        high += room;
      }
      const scale = logarithmic ? Math.log : (value) => value;
      const x = (step) => box.left + (step - first) / (last - first) * (box.right - box.left);
      const y = (value) => box.bottom - (scale(value) - scale(low)) / (scale(high) - scale(low)) * (box.bottom - box.top);
      for (const value of logarithmic ? logTicks(low, high) : ticks(low, high, 5)) {
        plot.append(shape('line', { class: 'grid', x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
        plot.append(shape('text', { x: box.left - 8, y: y(value) + 4, 'text-anchor': 'end' }, amount(value)));
      }
      for (const step of ticks(first, last, Math.max(2, Math.floor(width / 110)))) {
        const anchor = x(step) > box.right - 20 ? 'end' : 'middle';
        plot.append(shape('text', { x: x(step), y: height - 6, 'text-anchor': anchor }, count.format(step)));
      }
      for (const curve of curves) {
        let path = '';
        let pen = 'M';
        let last2 = null;
        curve.steps.forEach((step, i) => {
          if (!usable(curve.values[i])) { pen = 'M'; return; }
          path += `${pen}${x(step).toFixed(1)} ${y(curve.values[i]).toFixed(1)}`;
          pen = 'L';
          last2 = i;
        });
        const line = shape('path', { class: 'curve', d: path, 'data-name': curve.name });
        line.style.stroke = curve.color;
        if (curve.dash) line.setAttribute('stroke-dasharray', '5 3');
        plot.append(line);
        if (curve.steps.length === 1 && last2 !== null) {
          const dot = shape('circle', { cx: x(curve.steps[0]), cy: y(curve.values[0]), r: 3 });
          dot.style.fill = curve.color;
          plot.append(dot);
        }
      }
      const all = [...new Set(curves.flatMap((curve) => curve.steps))].sort((a, b) => a - b);
      place = { x, y, box, curves, all, usable, width, marks: shape('g') };
      plot.append(place.marks);
      if (cursor !== null) point(cursor);
    }

    function point(step) {
      if (!place) return;
      cursor = step;
      place.marks.replaceChildren();
      tip.replaceChildren(element('b', {}, `iteration ${count.format(step)}`));
      const at = place.x(step);
      place.marks.append(shape('line', { class: 'hair', x1: at, x2: at, y1: place.box.top, y2: place.box.bottom }));
      for (const curve of place.curves) {
        const i = curve.steps.indexOf(step);
        if (i < 0) continue;
        if (place.usable(curve.values[i])) {
          const dot = shape('circle', { cx: at, cy: place.y(curve.values[i]), r: 3.2 });
          dot.style.fill = curve.color;
          place.marks.append(dot);
        }
        tip.append(element('div', {}, swatch(curve.color), shortName(curve.name), element('span', { class: 'amount' }, amount(curve.values[i]))));
      }
      tip.hidden = false;
      const half = at > place.width / 2;
      tip.style.top = '38px';
      tip.style.left = half ? 'auto' : `${at + 10}px`;
      tip.style.right = half ? `${place.width - at + 10}px` : 'auto';
    }

    function leave() {
      cursor = null;
      tip.hidden = true;
      if (place) place.marks.replaceChildren();
    }

    function nearest(target) {
      return place.all.reduce((best, step) => (Math.abs(place.x(step) - target) < Math.abs(place.x(best) - target) ? step : best));
    }

    plot.addEventListener('pointermove', (event) => {
      if (place && place.all.length) point(nearest(event.clientX - plot.getBoundingClientRect().left));
    });
    plot.addEventListener('pointerleave', leave);
    plot.addEventListener('blur', leave);
    plot.addEventListener('keydown', (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === 'Escape') leave();
      if (!move || !place || !place.all.length) return;
      event.preventDefault();
      const now = cursor === null ? (move > 0 ? -1 : place.all.length) : place.all.indexOf(cursor);
      point(place.all[Math.min(place.all.length - 1, Math.max(0, now + move))]);
    });
    new ResizeObserver(draw).observe(holder);
    return holder;
  }

  document.getElementById('charts').append(...data.charts.map(chart));

  // Images

  const LONG = 384;
  const SOURCES = [['attention', 'Attention'], ['masks', 'Masks'], ['truth', 'Truth'], ['recon', 'Recon']];
  const colors = data.colors.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const grey = [128, 128, 128];
  let opacity = 0.6;

  async function pixels(uri, width, height) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = width || image.naturalWidth;
    canvas.height = height || image.naturalHeight;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    // Pixels of a small picture are shown as they are.
    context.imageSmoothingEnabled = Math.max(image.naturalWidth, image.naturalHeight) >= 96;
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  async function ids(uri, level) {
    const read = await pixels(uri);
    const values = new Uint8Array(read.width * read.height);
    for (let i = 0; i < values.length; i += 1) values[i] = Math.round(read.data[4 * i] / level);
    return { values, width: read.width, height: read.height };
  }

  function sourcesOf(image) {
    const there = { attention: image.steps.length, masks: image.masks, truth: image.truth, recon: image.recon };
    return SOURCES.filter(([name]) => there[name]);
  }

  function card(image, number) {
    const last = image.steps.length - 1;
    const known = sourcesOf(image).map(([name]) => name);
    const state = { source: known.includes('masks') ? 'masks' : 'attention', step: last, hidden: new Set(), hiddenObjects: new Set() };
    const cache = new Map();
    const [height, width] = image.size;
    const canvas = element('canvas', { role: 'img' });
    canvas.width = Math.round(LONG * width / Math.max(width, height));
    canvas.height = Math.round(LONG * height / Math.max(width, height));
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const slots = element('div', { class: 'slots', role: 'group' });
    const say = (step) => `${step + 1} of ${last + 1}`;
    const updates = slider('Update', 0, last, last, say, (step) => { state.step = step; choose('attention'); });
    const source = segments('What is drawn', sourcesOf(image), state.source, choose);

    function kept(key, load) {
      if (!cache.has(key)) cache.set(key, load());
      return cache.get(key);
    }

    function uriNow() {
      return { attention: image.steps[state.step], masks: image.masks, truth: image.truth }[state.source];
    }

    async function draw() {
      const asked = `${state.source} ${state.step}`;
      const plain = state.source === 'recon';
      const shownUri = plain ? image.recon : image.image;
      const base = await kept(shownUri, () => pixels(shownUri, canvas.width, canvas.height));
      const truth = state.source === 'truth';
      const uri = uriNow();
      const map = plain ? null : await kept(uri, () => ids(uri, truth ? image.object_level : image.slot_level));
      if (asked !== `${state.source} ${state.step}`) return;
      const out = new ImageData(new Uint8ClampedArray(base.data), base.width, base.height);
      if (map) paint(out, map, truth);
      context.putImageData(out, 0, 0);
      canvas.setAttribute('aria-label', `image ${image.name}, ${state.source}${state.source === 'attention' ? ` after update ${say(state.step)}` : ''}`);
      canvas.dataset.drawn = asked;
    }

    function paint(out, map, truth) {
      const hidden = truth ? state.hiddenObjects : state.hidden;
      const nobody = truth ? image.objects.length : image.slots.length;
      const columns = new Int32Array(out.width);
      for (let x = 0; x < out.width; x += 1) columns[x] = Math.floor((x + 0.5) * map.width / out.width);
      let above = null;
      for (let y = 0; y < out.height; y += 1) {
        const start = Math.floor((y + 0.5) * map.height / out.height) * map.width;
        const row = new Int32Array(out.width);
        for (let x = 0; x < out.width; x += 1) {
          const id = map.values[start + columns[x]] - (truth ? 1 : 0);
          row[x] = id;
          const here = id >= 0 && !hidden.has(id);
          const i = 4 * (y * out.width + x);
          if (here) for (let c = 0; c < 3; c += 1) out.data[i + c] = (1 - opacity) * out.data[i + c] + opacity * (id < nobody ? colors[id] : grey)[c];
          const edge = (x > 0 && row[x - 1] !== id) || (above !== null && above[x] !== id);
          const beside = here || (x > 0 && row[x - 1] >= 0 && !hidden.has(row[x - 1])) || (above !== null && above[x] >= 0 && !hidden.has(above[x]));
          if (edge && beside) for (let c = 0; c < 3; c += 1) out.data[i + c] *= 1 - 0.7 * Math.min(1, 1.5 * opacity);
        }
        above = row;
      }
    }

    function chips() {
      const truth = state.source === 'truth';
      const hidden = truth ? state.hiddenObjects : state.hidden;
      const entries = truth ? image.objects.map((name) => ({ name })) : image.slots.map((slot, i) => ({ ...slot, name: String(i) }));
      slots.setAttribute('aria-label', truth ? 'True objects' : 'Slots');
      slots.replaceChildren(...entries.map((entry, i) => {
        const text = element('span', { class: entry.active === false ? 'idle' : '' }, entry.name);
        const content = [swatch(data.colors[i]), text];
        if (typeof entry.weight === 'number') content.push(element('span', { class: 'weight' }, `${Math.round(100 * entry.weight)} %`));
        const chip = toggle(content, !hidden.has(i), (now) => {
          if (now) hidden.delete(i); else hidden.add(i);
          draw();
        });
        const weight = typeof entry.weight === 'number' ? `, mixing weight ${Math.round(100 * entry.weight)} per cent` : '';
        chip.setAttribute('aria-label', truth ? entry.name : `slot ${entry.name}${weight}${entry.active === false ? ', not active' : ''}`);
        return chip;
      }));
    }

    function choose(name) {
      if (!known.includes(name)) return;
      const changed = name !== state.source;
      state.source = name;
      source.select(name);
      slots.hidden = name === 'recon';
      if (changed) chips();
      draw();
    }

    const heading = element('header');
    for (const label of image.labels) heading.append(element('span', { class: `badge ${label.split(' ')[0]}` }, label));
    heading.append(element('span', { class: 'name' }, image.name));
    const names = Object.keys(image.scores);
    if (names.length) heading.append(element('span', { class: 'headline' }, headline(image.scores, names[0])));
    const made = element('article', { class: 'card', 'data-number': number, 'aria-label': `image ${image.name}` }, heading, canvas, source.group);
    if (last > 0) made.append(updates.made);
    made.append(slots);
    if (names.length) made.append(scoreTable(image.scores, names));
    chips();
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        draw();
      }
    }, { rootMargin: '400px' }).observe(made);
    return {
      made,
      draw,
      choose,
      step: (share) => {
        state.step = Math.round(share * last);
        updates.set(state.step);
        choose('attention');
      },
    };
  }

  function per100(value) {
    return typeof value === 'number' ? (100 * value).toFixed(1).replace('-', '\u2212') : '-';
  }

  function headline(scores, name) {
    const value = 'decoder' in scores[name] ? scores[name].decoder : Object.values(scores[name])[0];
    return `${data.names[name] || name} ${per100(value)}`;
  }

  function scoreTable(scores, names) {
    const kinds = [...new Set(names.flatMap((name) => Object.keys(scores[name])))];
    const head = element('tr', {}, element('th', { scope: 'col' }, 'per cent'), ...kinds.map((kind) => element('th', { scope: 'col' }, kind)));
    const rows = names.map((name) => element('tr', {}, element('th', { scope: 'row' }, data.names[name] || name), ...kinds.map((kind) => element('td', {}, per100(scores[name][kind])))));
    const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows));
    return element('details', {}, element('summary', {}, 'Scores of this image'), table);
  }

  const cards = data.images.map(card);
  document.getElementById('cards').append(...cards.map((one) => one.made));
  if (cards.length) {
    const longest = Math.max(...data.images.map((image) => image.steps.length)) - 1;
    const there = SOURCES.filter(([name]) => data.images.some((image) => sourcesOf(image).some(([other]) => other === name)));
    const all = segments('What is drawn of all images', there, there.some(([name]) => name === 'masks') ? 'masks' : 'attention', (name) => {
      all.select(name);
      for (const one of cards) one.choose(name);
    });
    const bar = document.getElementById('toolbar');
    bar.append(all.group);
    if (longest > 0) {
      bar.append(slider('Update', 0, longest, longest, (step) => `${step + 1} of ${longest + 1}`, (step) => {
        all.select('attention');
        for (const one of cards) one.step(step / longest);
      }).made);
    }
    bar.append(slider('Opacity', 0, 100, 60, (value) => `${value} %`, (value) => {
      opacity = value / 100;
      for (const one of cards) one.draw();
    }).made);
  }
})();
