// One stream: the strip chart, why its windows got their verdicts, and what came of them.

import { Bench } from "./bench.js";
import { axes, Chart, labelColour, lines, spans } from "./charts.js";
import { css, fill, h, sized, text } from "./dom.js";
import { EventList, merge } from "./events.js";
import { Feed, get, session } from "./net.js";
import { badge, kindOf, reason } from "./status.js";
import { draw, isVoltage, layout, perUnit, secondsOf, time } from "./strip.js";
import { S } from "./strings.js";
import { floats, Timeline } from "./timeline.js";

const SPEEDS = [5, 12.5, 25, 50, 100], GAINS = [2.5, 5, 10, 20, 40];
const CARD_MM = 85.6, CSS_MM = 96 / 25.4;
const EXPLAINED = 30, POINTS = 360, DELAY_S = 0.6;

const stored = {
  get mm() {
    const value = Number(localStorage.getItem("wavewall-mm"));
    return value > 2 && value < 12 ? value : CSS_MM;
  },
  set mm(value) {
    localStorage.setItem("wavewall-mm", String(value));
  },
};

export class StreamPage {
  constructor(root, app, id) {
    this.app = app;
    this.id = id;
    this.timeline = new Timeline();
    this.explained = [];
    this.answers = [];
    this.labels = session.hello.labels;
    this.events = new Map();
    this.lanes = { overlay: true, residual: true, heat: true };
    this.view = { mm: stored.mm, speed: 25, gain: 10, auto: 1, unit: session.hello.units, baseline: 0, end: 0 };
    this.live = true;
    this.wanted = 0;
    this.online = true;
    this.build(root);
    this.feed = new Feed(`/api/live?${new URLSearchParams({ stream: id })}`, {
      hello: (data) => this.hello(data),
      samples: (data) => this.samples(data),
      answers: (data) => this.answered(data),
      explain: (data) => this.explain(data),
      events: (data) => this.happened(data),
      vitals: (data) => app.vitals(data),
      state: (data) => { this.online = data.online; this.verdict(); },
    }, app.tell);
    this.watcher = new ResizeObserver(() => this.paint());
    this.watcher.observe(this.box);
    this.last = performance.now();
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.frame = requestAnimationFrame(() => this.tick());
  }

  build(root) {
    const button = (label, key, onclick, extra = {}) => h("button", { type: "button", onclick, title: key, ...extra }, label);
    this.title = h("h1", {}, this.id);
    this.big = h("div", { class: "verdict", role: "status", "aria-live": "polite" });
    this.pauseButton = button(S.stream.pause, "Space", () => this.toggle(), { class: "primary", id: "pause" });
    this.speed = this.choice(S.stream.speed, SPEEDS, "mm/s", 25, (v) => { this.view.speed = v; });
    this.gain = this.choice(S.stream.gain, GAINS, "mm/mV", 10, (v) => { this.view.gain = v; });
    const lane = (name, label) => h("button", {
      type: "button", class: "chip", "aria-pressed": "true", "data-lane": name,
      onclick: (event) => this.lane(name, event.currentTarget),
    }, label);
    this.laneButtons = {
      overlay: lane("overlay", S.stream.overlay), residual: lane("residual", S.stream.residual),
      heat: lane("heat", S.stream.heat),
    };
    this.canvas = h("canvas", { id: "strip" });
    this.box = h("div", {
      class: "strip", tabindex: "0", role: "img", "aria-label": S.stream.chart(this.id),
      onkeydown: (event) => this.key(event), onpointerdown: (event) => this.grab(event),
      onwheel: (event) => this.wheel(event),
    }, this.canvas);
    this.note = h("p", { class: "muted note", role: "status" }, S.stream.waiting);
    this.probabilityBox = h("div", { class: "plot" });
    this.chart = new Chart(this.probabilityBox, () => this.probabilityOptions());
    this.why = h("div", { class: "why" });
    this.list = new EventList(220);
    this.bench = new Bench(this.id);
    fill(root,
      h("div", { class: "streamhead" },
        h("a", { href: "#/", class: "back" }, "← ", S.stream.back), this.title, this.big),
      h("section", { class: "card chart" },
        h("div", { class: "tools" }, this.pauseButton, this.speed, this.gain, ...Object.values(this.laneButtons),
          h("span", { class: "spread" }),
          button(S.stream.picture, "", () => this.picture(), { id: "picture" }),
          h("a", { class: "button", id: "wfdb", href: "#", onclick: (event) => this.export(event) }, S.stream.wfdb),
          button(S.stream.scale, "", () => this.measure(), { id: "scale" })),
        this.box, this.note, h("p", { class: "muted keys" }, S.stream.keys)),
      h("div", { class: "two" },
        h("section", { class: "card" }, h("h2", {}, S.stream.probabilities),
          h("p", { class: "muted" }, S.stream.probabilitiesHint), this.probabilityBox),
        h("section", { class: "card" }, h("h2", {}, S.stream.decision), this.why)),
      this.bench.root,
      h("section", { class: "card" }, h("h2", {}, S.stream.events), this.list.root));
    this.explainVerdict();
    this.listEvents();
  }

  choice(label, values, unit, chosen, set) {
    const select = h("select", {
      "aria-label": label,
      onchange: () => { set(Number(select.value)); this.paint(); },
    }, ...values.map((v) => h("option", { value: v, selected: v === chosen }, `${v} ${unit}`)));
    return select;
  }

  // --- what comes ---

  hello(data) {
    this.timeline.expectSnapshot();
    this.labels = data.labels;
    this.boot = data.boot_id;
    this.bench.allow(data);
  }

  samples({ segments, skipped_s: skipped }) {
    this.timeline.append(segments, skipped);
    if (skipped > 0) this.app.tell(S.connection.skipped(skipped.toFixed(0)), true);
    if (!this.view.end) this.view.end = this.timeline.end - DELAY_S;
    this.view.unit = this.timeline.unit || this.view.unit;
    this.gain.disabled = !isVoltage(this.view.unit);
    text(this.note, this.answers.length ? "" : S.stream.firstVerdict(session.hello.window_s));
  }

  answered({ labels, rows }) {
    const known = new Set(this.answers.map((row) => `${row.seq} ${row.t0}`));
    this.labels = labels;
    const fresh = rows.filter((row) => !known.has(`${row.seq} ${row.t0}`));
    this.answers = [...this.answers, ...fresh].sort((a, b) => a.t0 - b.t0).slice(-POINTS);
    text(this.note, "");
    this.verdict();
    this.plot();
    this.bench.window(this.answers[this.answers.length - 1]);
  }

  explain(data) {
    const one = { ...data, t0: this.timeline.timeOf(data.epoch, data.first / data.rate_hz, data.t0) };
    for (const key of ["reconstruction", "residual_values"]) one[key] = data[key] ? floats(data[key]) : null;
    this.explained = [...this.explained.filter((e) => e.id !== one.id), one].sort((a, b) => a.t0 - b.t0)
      .slice(-EXPLAINED);
    this.explainVerdict();
  }

  happened(messages) {
    merge(this.events, messages);
    this.listEvents();
  }

  listEvents() {
    const all = [...this.events.values()].sort((a, b) => b.since - a.since);
    this.list.set(all, session.hello.events ? S.stream.noEvents : S.stream.eventsOff);
  }

  // --- the verdict, in words ---

  verdict() {
    const last = this.answers[this.answers.length - 1];
    const kind = kindOf(last?.status, this.online);
    const words = `${kind} ${last?.label} ${last?.score} ${last?.reason}`;
    if (words === this.said) return;
    this.said = words;
    fill(this.big, badge(kind), last && h("span", { class: "big" }, last.label),
      last && h("span", { class: "score" }, last.score.toFixed(2)),
      last && last.reason && h("span", { class: "muted" }, reason(last.reason)));
  }

  explainVerdict() {
    const last = this.explained[this.explained.length - 1];
    if (!last) {
      fill(this.why, h("p", { class: "muted" }, S.stream.firstVerdict(session.hello.window_s)));
      return;
    }
    const bars = (values, caption) => h("div", { class: "bars" }, h("h3", {}, caption),
      ...values.map((p, i) => h("div", { class: "bar-row" }, h("span", {}, this.labels[i]),
        this.bar(p, labelColour(i)), h("span", { class: "number" }, p.toFixed(2)))));
    const limits = session.hello.decision;
    fill(this.why,
      h("p", { class: "muted" }, `${time(last.t0)} – ${time(last.t0 + last.n / last.rate_hz)}`, "  ", last.model),
      h("div", { class: "pair" }, bars(last.p, S.stream.both), last.p_raw && bars(last.p_raw, S.stream.raw)),
      this.measureRow(S.stream.residualLimit, last.residual, limits.residual, this.view.unit.replace("uV", "µV")),
      this.measureRow(S.stream.disagreementLimit, last.disagreement, limits.disagreement, ""));
  }

  bar(share, colour) {
    const inner = h("span", { class: "bar-fill" });
    inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    inner.style.background = colour;
    return h("span", { class: "bar-box", "aria-hidden": "true" }, inner);
  }

  measureRow(name, value, limit, unit) {
    if (value === null || value === undefined) {
      return h("div", { class: "bar-row measure" }, h("span", {}, name), h("span", { class: "muted" }, S.stream.notOffered));
    }
    const over = limit !== null && value > limit;
    const digits = value >= 10 ? 0 : 3;
    const most = limit ? limit * 1.6 : value * 1.6;
    const bar = this.bar(value / most, css(over ? "--suspect" : "--accent"));
    if (limit) {
      const mark = h("span", { class: "bar-limit" });
      mark.style.left = `${(limit / most) * 100}%`;
      bar.append(mark);
    }
    return h("div", { class: `bar-row measure ${over ? "over" : ""}` }, h("span", {}, name), bar,
      h("span", { class: "number" }, `${value.toFixed(digits)} ${unit}`),
      h("span", { class: "muted" }, limit ? `${S.stream.limit} ${limit.toFixed(digits)}` : S.stream.noLimit));
  }

  // --- probabilities over time ---

  probabilityOptions() {
    return {
      series: lines(this.labels),
      scales: { x: { time: true }, y: { range: [0, 1.02] } },
      axes: axes(undefined, (_, ticks) => ticks.map((t) => t.toFixed(1))),
      cursor: { y: false },
      legend: { live: true },
      hooks: { drawClear: [spans(() => this.marks())] },
    };
  }

  marks() {
    const hop = session.hello.hop_s;
    return this.answers.filter((row) => row.status !== "ok").map((row) =>
      [row.t0 + row.s - hop, row.t0 + row.s, css(row.status === "suspect" ? "--suspect" : "--abstain")]);
  }

  plot() {
    const rows = this.answers.filter((row) => row.p.length === this.labels.length);
    if (!rows.length) return;
    if (this.plotted !== this.labels.join()) {
      this.plotted = this.labels.join();
      this.chart.data = null;
      this.chart.again();
    }
    this.chart.set([rows.map((row) => row.t0 + row.s), ...this.labels.map((_, i) => rows.map((row) => row.p[i]))]);
  }

  // --- time ---

  tick() {
    this.frame = requestAnimationFrame(() => this.tick());
    const moment = performance.now(), passed = (moment - this.last) / 1000;
    if (passed < (this.still ? 1 : 0.033)) return;
    this.last = moment;
    if (!this.live || this.timeline.end === null) return;
    // Follows the newest sample smoothly, also where a replay plays faster than time.
    const goal = this.timeline.end - (this.still ? 0 : DELAY_S), behind = goal - this.view.end;
    if (Math.abs(behind) > 30 || this.still) this.view.end = goal;
    else this.view.end = Math.min(this.timeline.end, this.view.end + Math.max(0, passed * (1 + 1.5 * behind)));
    this.paint();
  }

  paint() {
    const width = Math.floor(this.box.clientWidth);
    if (!width || this.timeline.end === null) return;
    const view = { ...this.view, lanes: this.lanes };
    const place = layout(width, view);
    if (!isVoltage(view.unit)) this.autoScale(place);
    this.baseline(place);
    Object.assign(view, { auto: this.view.auto, baseline: this.view.baseline });
    draw(sized(this.canvas, width, place.height), width, view, {
      timeline: this.timeline, explained: this.explained, events: [...this.events.values()],
    });
    this.shown = { ...view, width, seconds: secondsOf(place, view), place };
  }

  visible(place) {
    const start = this.view.end - secondsOf(place, this.view);
    const values = [];
    for (const run of this.timeline.between(start, this.view.end)) {
      const from = Math.max(0, Math.floor((start - run.t0) * run.rate));
      const to = Math.min(run.n, Math.ceil((this.view.end - run.t0) * run.rate));
      const step = Math.max(1, Math.floor((to - from) / 400));
      for (let i = from; i < to; i += step) if (!Number.isNaN(run.values[i])) values.push(run.values[i]);
    }
    return values.sort((a, b) => a - b);
  }

  // Moved onto the paper by whole steps, and only where part of the signal would be off it.
  baseline(place) {
    const values = this.visible(place);
    if (values.length < 5) return;
    const at = (share) => values[Math.floor((values.length - 1) * share)];
    const [low, high] = [at(0.02), at(0.98)], half = place.signal.h / 2 / perUnit(this.view);
    if (low >= this.view.baseline - half && high <= this.view.baseline + half) return;
    const step = half / 5, middle = high - low <= 2 * half ? (low + high) / 2 : at(0.5);
    this.view.baseline = Math.round(middle / step) * step;
  }

  autoScale(place) {
    const values = this.visible(place);
    const span = values.length ? values[values.length - 1] - values[0] : 0;
    const wanted = span / 4 || 1;
    if (wanted > this.view.auto * 1.3 || wanted < this.view.auto / 3) {
      const power = 10 ** Math.floor(Math.log10(wanted));
      this.view.auto = [1, 2, 5, 10].map((k) => k * power).find((v) => v >= wanted);
      this.view.baseline = 0;
    }
  }

  // --- hands ---

  toggle() {
    if (this.live) this.pause();
    else this.follow();
  }

  pause() {
    this.live = false;
    text(this.pauseButton, S.stream.resume);
    this.pauseButton.setAttribute("aria-pressed", "true");
  }

  follow() {
    this.live = true;
    this.view.end = (this.timeline.end ?? 0) - DELAY_S;
    text(this.pauseButton, S.stream.pause);
    this.pauseButton.setAttribute("aria-pressed", "false");
    text(this.note, "");
    this.paint();
  }

  scroll(seconds) {
    if (this.timeline.end === null || !this.shown) return;
    this.pause();
    const start = this.timeline.start, span = this.shown.seconds;
    const wanted = this.view.end + seconds;
    if (wanted >= this.timeline.end) {
      this.follow();
      return;
    }
    if (wanted - span < start) this.older(start);
    this.view.end = Math.max(wanted, start + Math.min(span, 2));
    this.paint();
  }

  // What lies before all that is held: from the recorder, where the agent has one.
  async older(start) {
    if (this.fetching || this.exhausted === start) return;
    this.fetching = true;
    text(this.note, S.stream.loading);
    try {
      const found = await get("/api/samples", { stream: this.id, since: start - 120, until: start });
      const more = this.timeline.prepend(found.segments);
      if (!more) this.exhausted = start;
      text(this.note, more ? "" : S.stream.oldest);
      this.paint();
    } catch (error) {
      text(this.note, error.message);
    } finally {
      this.fetching = false;
    }
  }

  key(event) {
    const page = this.shown ? this.shown.seconds : 5;
    const acts = {
      " ": () => this.toggle(), ArrowLeft: () => this.scroll(event.shiftKey ? -page : -1),
      ArrowRight: () => this.scroll(event.shiftKey ? page : 1), PageUp: () => this.scroll(-page),
      PageDown: () => this.scroll(page), End: () => this.follow(),
      Home: () => this.scroll((this.timeline.start ?? 0) + page - this.view.end),
      "+": () => this.step(this.speed, 1), "=": () => this.step(this.speed, 1), "-": () => this.step(this.speed, -1),
      "]": () => this.step(this.gain, 1), "[": () => this.step(this.gain, -1),
      r: () => this.laneButtons.overlay.click(), d: () => this.laneButtons.residual.click(),
      h: () => this.laneButtons.heat.click(),
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  // Keys work anywhere on the page that does not want them itself.
  shortcut(event) {
    if (!event.target.closest("input, select, button, a, textarea, .strip, .events")) this.key(event);
  }

  step(select, by) {
    const next = select.selectedIndex + by;
    if (select.disabled || next < 0 || next >= select.options.length) return;
    select.selectedIndex = next;
    select.dispatchEvent(new Event("change"));
  }

  lane(name, button) {
    this.lanes[name] = !this.lanes[name];
    button.setAttribute("aria-pressed", String(this.lanes[name]));
    this.paint();
  }

  grab(event) {
    if (event.button !== 0 || !this.shown) return;
    this.box.focus();
    let at = event.clientX;
    const per = this.view.speed * this.view.mm;
    const move = (e) => {
      const by = (at - e.clientX) / per;
      if (Math.abs(e.clientX - at) < 2) return;
      at = e.clientX;
      this.scroll(by);
    };
    const up = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
  }

  wheel(event) {
    const by = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
    if (!by) return;
    event.preventDefault();
    this.scroll(by / (this.view.speed * this.view.mm));
  }

  // --- out of the page ---

  picture() {
    this.paint();
    this.canvas.toBlob((blob) => {
      const link = h("a", { href: URL.createObjectURL(blob), download: `${this.id}-${time(this.view.end).replaceAll(":", "")}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }

  // What is on the screen when paused; all that is kept when live.
  export(event) {
    const until = this.live ? (this.timeline.end ?? 0) + 1 : this.view.end;
    const since = this.live ? (this.timeline.start ?? 0) - 1 : this.view.end - this.shown.seconds;
    event.currentTarget.href = `/api/export?${new URLSearchParams({ stream: this.id, since, until })}`;
  }

  measure() {
    const range = h("input", { type: "range", min: 2.5, max: 8, step: 0.01, value: this.view.mm, id: "mm", "aria-label": S.stream.scale });
    const ruler = h("div", { class: "ruler" });
    const set = () => {
      this.view.mm = stored.mm = Number(range.value);
      ruler.style.width = `${CARD_MM * this.view.mm}px`;
      this.paint();
    };
    range.addEventListener("input", set);
    const dialog = h("dialog", { "aria-labelledby": "scale-title" }, h("h2", { id: "scale-title" }, S.stream.scale),
      h("p", {}, S.stream.scaleHint), ruler, range,
      h("form", { method: "dialog" }, h("button", { class: "primary" }, "OK")));
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
    set();
  }

  repaint() {
    this.paint();
    this.chart.again();
    this.explainVerdict();
    this.bench.repaint();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.feed.close();
    this.watcher.disconnect();
    this.chart.close();
    this.bench.close();
  }
}
