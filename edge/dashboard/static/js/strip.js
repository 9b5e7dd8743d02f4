// The strip chart: ECG paper in true proportion. Everything is drawn in millimetres times `mm` CSS pixels.

import { css } from "./dom.js";
import { S } from "./strings.js";

export const GUTTER_MM = 14; // calibration pulse and scales
const BAND_MM = 5, RESIDUAL_MM = 12, AXIS_MM = 6, EVENT_MM = 5;
const TO_MV = { uV: 1e-3, mV: 1, V: 1e3, nV: 1e-6 };

export function isVoltage(unit) {
  return unit in TO_MV;
}

// Where everything is, in CSS pixels, for a canvas of that width.
export function layout(width, options) {
  const { mm, lanes } = options;
  const left = GUTTER_MM * mm;
  const signal = (options.heightMm || 40) * mm;
  let y = (options.events === false ? 0 : EVENT_MM) * mm;
  const place = { left, width: Math.max(0, width - left), signal: { y, h: signal } };
  y += signal;
  if (lanes.residual) {
    place.residual = { y: y + mm, h: RESIDUAL_MM * mm };
    y += (RESIDUAL_MM + 1) * mm;
  }
  if (lanes.heat) {
    place.heat = { y: y + mm, h: BAND_MM * mm };
    y += (BAND_MM + 1) * mm;
  }
  place.axis = { y, h: AXIS_MM * mm };
  place.height = y + AXIS_MM * mm;
  return place;
}

// view: {end, mm, speed (mm/s), gain (mm/mV, or mm per `auto` units), unit, baseline (in unit)}
export function secondsOf(place, view) {
  return place.width / (view.speed * view.mm);
}

export function perUnit(view) {
  return view.mm * view.gain * (isVoltage(view.unit) ? TO_MV[view.unit] : 1 / view.auto);
}

export function draw(context, width, view, data) {
  const place = layout(width, view);
  const colours = palette();
  const seconds = secondsOf(place, view), start = view.end - seconds;
  const x = (t) => place.left + (t - start) * view.speed * view.mm;
  context.clearRect(0, 0, width, place.height);
  context.fillStyle = colours.card;
  context.fillRect(0, 0, width, place.height);
  context.lineJoin = "round";
  paper(context, place, place.signal, view, start, colours);
  if (place.residual) paper(context, place, place.residual, view, start, colours);
  const clip = (box, body) => {
    context.save();
    context.beginPath();
    context.rect(place.left, box.y, place.width, box.h);
    context.clip();
    body();
    context.restore();
  };
  clip(place.signal, () => {
    holes(context, place.signal, view, start, x, data.timeline, colours);
    for (const run of data.timeline.between(start, view.end)) {
      if (run.lead) leadOff(context, place.signal, x(run.t0), x(run.end), colours);
    }
    const scale = perUnit(view), middle = place.signal.y + place.signal.h / 2;
    const y = (value) => middle - (value - view.baseline) * scale;
    if (view.lanes.overlay) {
      context.setLineDash([]);
      for (const part of covering(data.explained, start, view.end)) {
        if (part.reconstruction)
          line(context, part.reconstruction, part.t0, part.rate_hz, part.from, part.until, x, y, colours.recon, 2.6);
      }
    }
    for (const run of data.timeline.between(start, view.end)) {
      const ink = run.lead ? colours.faint : colours.ink;
      line(context, run.values.subarray(0, run.n), run.t0, run.rate, start, view.end, x, y, ink, 1.3);
    }
  });
  if (place.residual)
    clip(place.residual, () => {
      const scale = perUnit(view), middle = place.residual.y + place.residual.h / 2;
      for (const part of covering(data.explained, start, view.end)) {
        if (part.residual_values)
          line(context, part.residual_values, part.t0, part.rate_hz, part.from, part.until, x,
            (value) => middle - value * scale, colours.resid, 1.2);
      }
    });
  if (place.heat) clip(place.heat, () => heat(context, place.heat, data.explained, start, view.end, x, colours));
  events(context, place, data.events || [], start, view.end, x, colours, view);
  gutter(context, place, view, colours, data);
  axis(context, place, view, start, x, colours);
}

function palette() {
  const names = ["card", "ink", "faint", "grid", "grid-major", "paper", "recon", "resid", "muted", "suspect", "abstain",
    "warm", "cool", "hatch", "accent"];
  return Object.fromEntries(names.map((name) => [name, css(`--${name}`)]));
}

function paper(context, place, box, view, start, colours) {
  context.fillStyle = colours.paper;
  context.fillRect(place.left, box.y, place.width, box.h);
  // Vertical lines stand on the time, so that the paper moves with the signal; the small ones are 1 mm apart.
  for (const [step, colour, wide] of [[1, colours.grid, 0.5], [5, colours["grid-major"], 1]]) {
    context.beginPath();
    context.strokeStyle = colour;
    context.lineWidth = wide;
    const mmStart = start * view.speed;
    for (let k = Math.ceil(mmStart / step) * step; ; k += step) {
      const at = place.left + (k - mmStart) * view.mm;
      if (at > place.left + place.width) break;
      context.moveTo(at, box.y);
      context.lineTo(at, box.y + box.h);
    }
    const middle = box.y + box.h / 2, reach = Math.floor(box.h / 2 / (view.mm * step));
    for (let k = -reach; k <= reach; k += 1) {
      context.moveTo(place.left, middle + k * step * view.mm);
      context.lineTo(place.left + place.width, middle + k * step * view.mm);
    }
    context.stroke();
  }
}

// A line through samples; where many fall on one column, its least and largest.
function line(context, values, t0, rate, since, until, x, y, colour, wide) {
  const from = Math.max(0, Math.floor((since - t0) * rate) - 1);
  const to = Math.min(values.length, Math.ceil((until - t0) * rate) + 1);
  if (to <= from) return;
  context.strokeStyle = colour;
  context.lineWidth = wide;
  context.beginPath();
  const perColumn = 1 / (Math.abs(x(t0 + 1 / rate) - x(t0)) || 1);
  let open = false;
  if (perColumn <= 3) {
    for (let i = from; i < to; i += 1) {
      const value = values[i];
      if (Number.isNaN(value)) {
        open = false;
        continue;
      }
      if (open) context.lineTo(x(t0 + i / rate), y(value));
      else context.moveTo(x(t0 + i / rate), y(value));
      open = true;
    }
  } else {
    const stride = perColumn / 2;
    for (let a = from; a < to; a += stride) {
      let low = Infinity, high = -Infinity;
      const stop = Math.min(to, Math.ceil(a + stride));
      for (let i = Math.floor(a); i < stop; i += 1) {
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
      if (low === Infinity) {
        open = false;
        continue;
      }
      const at = x(t0 + a / rate);
      if (open) context.lineTo(at, y(high));
      else context.moveTo(at, y(high));
      context.lineTo(at, y(low));
      open = true;
    }
  }
  context.stroke();
}

// The stretches of the view that no run covers, hatched and named.
function holes(context, box, view, start, x, timeline, colours) {
  let at = Math.max(start, timeline.start ?? start);
  const found = [];
  for (const run of timeline.between(start, view.end)) {
    if (run.t0 - at > 1.5 / run.rate) found.push([at, run.t0]);
    at = Math.max(at, run.end);
  }
  for (const [since, until] of found) {
    const skipped = timeline.skips.some(([a, b]) => a <= since + 0.01 && b >= until - 0.01);
    hatch(context, x(since), box.y, x(until) - x(since), box.h, skipped ? colours.faint : colours.hatch, skipped);
    label(context, skipped ? S.stream.skippedHere : S.stream.gap, x(since), x(until), box.y + 14, colours);
  }
}

function hatch(context, left, top, width, height, colour, dotted) {
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  if (dotted) context.setLineDash([1, 5]);
  context.beginPath();
  for (let k = left - height; k < left + width; k += 7) {
    context.moveTo(k, top + height);
    context.lineTo(k + height, top);
  }
  context.stroke();
  context.restore();
}

// Samples came, but from no electrode: tinted, so that nobody reads them as a heart.
function leadOff(context, box, from, until, colours) {
  context.globalAlpha = 0.22;
  context.fillStyle = colours.suspect;
  context.fillRect(from, box.y, until - from, box.h);
  context.globalAlpha = 1;
  label(context, S.stream.lead, from, until, box.y + 14, colours, colours.suspect);
}

function label(context, words, from, until, y, colours, fill) {
  context.font = "600 11px Inter, system-ui, sans-serif";
  const wide = context.measureText(words).width;
  if (until - from < wide + 8) return;
  const at = Math.max(from + 4, (from + until - wide) / 2);
  context.fillStyle = colours.card;
  context.fillRect(at - 4, y - 11, wide + 8, 15);
  context.fillStyle = fill || colours.muted;
  context.fillText(words, at, y);
}

// Each window's own stretch: the newest explanation wins where windows overlap.
export function covering(explained, start, end) {
  const parts = [];
  let until = end;
  for (let i = explained.length - 1; i >= 0 && until > start; i -= 1) {
    const one = explained[i], last = one.t0 + one.n / one.rate_hz;
    if (one.t0 >= until) continue;
    const to = Math.min(until, last);
    if (to > start) parts.push({ ...one, from: Math.max(start, one.t0), until: to });
    until = one.t0;
  }
  return parts;
}

function heat(context, box, explained, start, end, x, colours) {
  for (const part of covering(explained, start, end)) {
    if (!part.cam) continue;
    const cells = part.cam, span = part.n / part.rate_hz / cells.length;
    const most = Math.max(1e-9, ...cells.map(Math.abs));
    cells.forEach((value, i) => {
      const from = Math.max(part.from, part.t0 + i * span), to = Math.min(part.until, part.t0 + (i + 1) * span);
      if (to <= from) return;
      context.globalAlpha = Math.min(1, 0.08 + Math.abs(value) / most);
      context.fillStyle = value > 0 ? colours.warm : colours.cool;
      context.fillRect(x(from), box.y, x(to) - x(from) + 0.5, box.h);
    });
    context.globalAlpha = 1;
  }
  context.strokeStyle = colours["grid-major"];
  context.lineWidth = 1;
  context.strokeRect(x(start), box.y + 0.5, x(end) - x(start), box.h - 1);
}

function events(context, place, list, start, end, x, colours, view) {
  if (view.events === false) return;
  const h = EVENT_MM * view.mm;
  for (const event of list) {
    const until = event.open ? end : event.until;
    if (until < start || event.since > end) continue;
    const from = Math.max(place.left, x(event.since)), to = Math.min(place.left + place.width, x(until));
    context.fillStyle = event.kind !== "label" ? colours.suspect : colours.accent;
    context.fillRect(from, 2, Math.max(2, to - from), h - 4);
    context.font = "600 10px Inter, system-ui, sans-serif";
    if (to - from > context.measureText(event.label).width + 8) {
      context.fillStyle = colours.card;
      context.fillText(event.label, from + 4, h - 5);
    }
  }
}

function gutter(context, place, view, colours) {
  const { mm } = view, box = place.signal;
  context.fillStyle = colours.card;
  context.fillRect(0, 0, place.left, place.height);
  context.fillStyle = colours.muted;
  context.font = "11px Inter, system-ui, sans-serif";
  const voltage = isVoltage(view.unit);
  const middle = box.y + box.h / 2;
  if (voltage) {
    // The pulse of every ECG machine: 1 mV for 0.2 s, as high and wide as the paper says.
    const high = view.gain * mm, wide = 0.2 * view.speed * mm, left = Math.max(2, (place.left - wide) / 2 - 1);
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.3;
    context.beginPath();
    context.moveTo(left - 1.2 * mm, middle);
    context.lineTo(left, middle);
    context.lineTo(left, middle - high);
    context.lineTo(left + wide, middle - high);
    context.lineTo(left + wide, middle);
    context.lineTo(left + wide + 1.2 * mm, middle);
    context.stroke();
    context.textAlign = "center";
    context.fillText(S.stream.pulse, place.left / 2, middle + 14);
  } else {
    context.textAlign = "center";
    context.fillText(`${nice(10 / view.gain * view.auto)} ${view.unit}`, place.left / 2, middle - 4);
    context.fillText("/cm", place.left / 2, middle + 10);
  }
  context.textAlign = "right";
  if (place.residual) context.fillText(S.stream.resid, place.left - 5, place.residual.y + place.residual.h / 2 + 4);
  if (place.heat) context.fillText("why", place.left - 5, place.heat.y + place.heat.h / 2 + 4);
  context.textAlign = "left";
}

function axis(context, place, view, start, x, colours) {
  const steps = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
  const step = steps.find((s) => s * view.speed * view.mm >= 70) || 600;
  context.font = "11px Inter, system-ui, sans-serif";
  context.fillStyle = colours.muted;
  context.strokeStyle = colours.muted;
  context.lineWidth = 1;
  for (let t = Math.ceil(start / step) * step; t <= view.end; t += step) {
    const at = x(t);
    if (at < place.left) continue;
    context.beginPath();
    context.moveTo(at, place.axis.y + 1);
    context.lineTo(at, place.axis.y + 5);
    context.stroke();
    const words = time(t, step < 1);
    if (at + context.measureText(words).width / 2 < place.left + place.width && at > place.left + 24) {
      context.textAlign = "center";
      context.fillText(words, at, place.axis.y + 17);
      context.textAlign = "left";
    }
  }
}

export function time(t, tenths = false) {
  const date = new Date(t * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const base = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return tenths ? `${base}.${Math.floor(date.getMilliseconds() / 100)}` : base;
}

export function nice(value) {
  return Number(value.toPrecision(2)).toString();
}
