// Events of the decision stage as one list: ten thousand of them are a few rows in the page.

import { fill, h, text } from "./dom.js";
import { time } from "./strip.js";
import { S } from "./strings.js";

const ROW = 34;

// The state of each event after its messages; what comes twice changes nothing.
export function merge(known, messages) {
  for (const m of messages) {
    if (!m.id || !m.start) continue; // not of the decision stage
    const held = known.get(m.id);
    if (held && held.seq >= m.seq) continue;
    known.set(m.id, {
      id: m.id, seq: m.seq, stream: m.stream, kind: m.kind, label: m.label ?? S.events[m.kind] ?? m.kind,
      since: Date.parse(m.start) / 1000, until: Date.parse(m.end) / 1000, open: m.type !== "end",
      score: m.peak_score, windows: m.windows, why: Object.keys(m.measures || {}).join(", "),
    });
  }
  return known;
}

export class EventList {
  constructor(height = 280) {
    this.items = [];
    this.body = h("div", { class: "rows" });
    this.box = h("div", { class: "events", tabindex: "0", role: "group", "aria-label": S.stream.events, style: null },
      this.body);
    this.box.style.maxHeight = `${height}px`;
    this.box.addEventListener("scroll", () => this.render(), { passive: true });
    this.none = h("p", { class: "muted" });
    this.root = h("div", {}, this.none, this.box);
    this.height = height;
  }

  set(items, whenEmpty) {
    this.items = items;
    text(this.none, items.length ? "" : whenEmpty);
    this.box.hidden = !items.length;
    this.body.style.height = `${items.length * ROW}px`;
    this.render();
  }

  render() {
    const from = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const to = Math.min(this.items.length, from + Math.ceil(this.height / ROW) + 8);
    const rows = [];
    for (let i = from; i < to; i += 1) {
      const item = this.items[i];
      const row = h("div", { class: `row ${item.kind === "label" ? "" : "suspect"}` },
        h("span", { class: "when" }, `${time(item.since)} – ${item.open ? S.events.open : time(item.until)}`),
        h("a", { href: `#/stream/${encodeURIComponent(item.stream)}` }, item.stream),
        h("strong", {}, item.label),
        h("span", { class: "muted" }, item.score !== null ? item.score.toFixed(2) : item.why,
          " ", S.events.windows(item.windows)));
      row.style.top = `${i * ROW}px`;
      rows.push(row);
    }
    fill(this.body, rows);
  }
}
