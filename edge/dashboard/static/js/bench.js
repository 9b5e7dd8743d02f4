// The attack bench: two models, one window, clean and attacked. Only on this page.

import { css, fill, h, sized, text } from "./dom.js";
import { act, Refused, session } from "./net.js";
import { badge, reason } from "./status.js";
import { S } from "./strings.js";
import { floats } from "./timeline.js";

const SHOWN_S = 3;

export class Bench {
  constructor(stream) {
    this.stream = stream;
    this.tally = new Map();
    this.busy = false;
    this.result = null;
    this.seq = null;
    this.build();
  }

  build() {
    const hello = session.hello;
    this.attack = h("select", { id: "attack", "aria-label": S.bench.attack },
      ...hello.attacks.map((name) => h("option", { value: name }, S.bench.attacks[name] || S.bench.byPackage(name))));
    this.knows = h("select", { id: "knows", "aria-label": S.bench.knows }, h("option", { value: "" }, S.bench.blackBox),
      h("option", { value: "1" }, S.bench.whiteBox));
    this.range = h("input", {
      type: "range", id: "epsilon", min: 1, max: 50, step: 1, value: 10, "aria-label": S.bench.budget,
      oninput: () => this.budget(),
    });
    this.output = h("output", { for: "epsilon" });
    this.go = h("button", { type: "button", class: "primary danger", id: "go", onclick: () => this.run() }, S.bench.go);
    this.again = h("input", { type: "checkbox", id: "again" });
    this.state = h("p", { class: "muted", role: "status", id: "bench-state" });
    this.sides = h("div", { class: "sides" });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.figure = h("figure", { hidden: true }, h("figcaption", {}), this.canvas, h("p", { class: "muted" }));
    this.form = h("div", { class: "benchform" },
      h("label", { for: "attack" }, S.bench.attack), this.attack,
      h("label", { for: "knows" }, S.bench.knows), this.knows,
      h("label", { for: "epsilon" }, S.bench.budget), h("span", { class: "slider" }, this.range, this.output),
      this.go, h("label", { class: "check" }, this.again, S.bench.live));
    this.body = h("div", {}, this.form, this.state, this.sides, this.figure);
    this.notice = h("p", { class: "notice" }, S.bench.notice);
    this.closed = h("p", { class: "muted", id: "bench-closed" });
    this.root = h("section", { class: "card bench" }, h("h2", {}, S.bench.title), this.notice, this.closed, this.body);
    this.budget();
    this.allow({ why_no_attack: "" });
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.figure);
  }

  budget() {
    text(this.output, `${this.range.value} ${session.hello.units.replace("uV", "µV")}`);
  }

  // The server decides; this only shows its answer.
  allow({ why_no_attack: why }) {
    this.body.hidden = !!why;
    text(this.closed, why || "");
  }

  window(answer) {
    if (!answer || this.seq === answer.seq) return;
    this.seq = answer.seq;
    if (this.again.checked && this.result) this.run();
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    this.go.disabled = true;
    text(this.state, S.bench.busy);
    try {
      const asked = { stream: this.stream, attack: this.attack.value, epsilon: Number(this.range.value),
        white_box: this.knows.value === "1" };
      this.show(await act("/api/attack", asked));
    } catch (error) {
      text(this.state, error instanceof Refused ? error.message : S.connection.lost);
    } finally {
      this.busy = false;
      this.go.disabled = false;
    }
  }

  show(result) {
    const key = `${result.attack} ${result.epsilon} ${result.against}`;
    if (this.key !== key) this.tally.clear();
    this.key = key;
    this.result = { ...result, delta: floats(result.delta), clean: floats(result.clean) };
    text(this.state, S.bench.against(result.against, result.white_box));
    fill(this.sides, result.sides.map((side) => this.side(side, result)));
    this.figure.hidden = false;
    const unit = result.units.replace("uV", "µV");
    text(this.figure.lastChild, S.bench.perturbationHint(result.largest, result.rms, result.signal_std, unit));
    this.draw();
  }

  side(side, result) {
    const seen = this.tally.get(side.model) || new Map();
    seen.set(result.id, side.flipped);
    this.tally.set(side.model, seen);
    const turned = [...seen.values()].filter(Boolean).length;
    const unnoticed = side.flipped && side.attacked.status === "ok";
    const outcome = !side.flipped ? S.bench.held : unnoticed ? S.bench.unnoticed : S.bench.noticed;
    const name = result.sides.length < 2 ? S.bench.only : side.defended ? S.bench.defended : S.bench.undefended;
    const answer = (caption, one) => h("div", { class: "answer" }, h("h4", {}, caption),
      h("span", { class: "big" }, one.label), " ", h("span", { class: "score" }, one.score.toFixed(2)), " ",
      badge(one.status), one.reason && h("span", { class: "muted" }, reason(one.reason)),
      ...result.labels.map((label, i) => h("div", { class: "bar-row" }, h("span", {}, label), bar(one.p[i], i),
        h("span", { class: "number" }, one.p[i].toFixed(2)))));
    return h("div", { class: `side ${side.flipped ? (unnoticed ? "lost" : "noticed") : "held"}` },
      h("h3", {}, name, " ", h("span", { class: "muted" }, side.model)),
      h("div", { class: "pair" }, answer(S.bench.clean, side.clean), answer(S.bench.attacked, side.attacked)),
      h("p", { class: "outcome" }, h("span", { "aria-hidden": "true" }, side.flipped ? "✕ " : "✓ "), outcome),
      h("p", { class: "muted" }, S.bench.tally(turned, seen.size)));
  }

  // The clean and the attacked signal, and under them the difference, enlarged so that it can be seen at all.
  draw() {
    const result = this.result;
    const width = Math.floor(this.figure.clientWidth);
    if (!result || !width) return;
    const head = 22, top = 160, low = 110, height = top + low;
    const context = sized(this.canvas, width, height);
    context.clearRect(0, 0, width, height);
    const n = Math.min(result.clean.length, Math.round(SHOWN_S * result.rate_hz));
    const from = Math.max(0, Math.floor((result.clean.length - n) / 2));
    const clean = result.clean.subarray(from, from + n), delta = result.delta.subarray(from, from + n);
    const finite = clean.filter((v) => !Number.isNaN(v));
    if (!finite.length) return;
    const least = Math.min(...finite), most = Math.max(...finite), span = Math.max(most - least, 1e-9);
    const scale = (top - head - 16) / span;
    const times = Math.max(1, Math.round(((low - head) / 2 - 8) / (result.epsilon * scale)));
    text(this.figure.firstChild, S.bench.perturbation(times));
    const x = (i) => (i / (n - 1)) * width;
    const stroke = (values, y, colour, wide, dash = []) => {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.setLineDash(dash);
      context.beginPath();
      for (let i = 0; i < n; i += 1) {
        if (Number.isNaN(values(i))) continue;
        if (i) context.lineTo(x(i), y(values(i)));
        else context.moveTo(x(i), y(values(i)));
      }
      context.stroke();
      context.setLineDash([]);
    };
    context.fillStyle = css("--paper");
    context.fillRect(0, 0, width, height);
    const y = (v) => head + 8 + (most - v) * scale;
    stroke((i) => clean[i] + delta[i], y, css("--suspect"), 3);
    stroke((i) => clean[i], y, css("--ink"), 1.2);
    const middle = top + head + (low - head) / 2;
    context.strokeStyle = css("--line");
    context.beginPath();
    context.moveTo(0, middle);
    context.lineTo(width, middle);
    context.stroke();
    stroke((i) => delta[i], (v) => middle - v * scale * times, css("--suspect"), 1.2);
    context.font = "600 11px Inter, system-ui, sans-serif";
    const tag = (words, colour, at, line) => {
      context.fillStyle = css("--paper");
      context.fillRect(at - 3, line - 11, context.measureText(words).width + 6, 15);
      context.fillStyle = css(colour);
      context.fillText(words, at, line);
      return at + context.measureText(words).width + 16;
    };
    tag(S.bench.attackedLine, "--suspect", tag(S.bench.cleanLine, "--ink", 8, 16), 16);
    tag(`${S.bench.delta} × ${times}`, "--suspect", 8, top + 16);
  }

  repaint() {
    this.draw();
  }

  close() {
    this.again.checked = false;
    this.watcher.disconnect();
  }
}

function bar(share, index) {
  const inner = h("span", { class: "bar-fill" });
  inner.style.width = `${share * 100}%`;
  inner.style.background = css(`--series-${index % 6}`);
  return h("span", { class: "bar-box", "aria-hidden": "true" }, inner);
}
