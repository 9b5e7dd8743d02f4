// A tile for each stream. Only the tiles in sight exist, so a thousand scroll as ten do.

import { css, fill, h, sized, text } from "./dom.js";
import { Feed, get } from "./net.js";
import { badge, kindOf, reason } from "./status.js";
import { S } from "./strings.js";

// The signal has SIGNAL pixels of a tile's height, less what the line that says why takes (one or two of 16), and all
// of its width but for the SIDES: borders and padding.
const TILE_MIN = 232, TILE_HEIGHT = 158, SIGNAL = 80, SIDES = 32, GAP = 12, SPARK_MS = 1000;
const FILTERS = ["all", "suspect", "abstain", "lead", "offline"];

function parse(row) {
  const [id, label, score, status, why, online, lead, lag, end, suspects] = row;
  return { id, label, score, status, why, online, lead, lag, end, suspects, kind: kindOf(status, online) };
}

const PASSES = {
  all: () => true,
  suspect: (s) => s.status === "suspect",
  abstain: (s) => s.status === "abstain",
  lead: (s) => s.lead,
  offline: (s) => !s.online,
};
const NEED = { suspect: 0, abstain: 1, none: 2, offline: 3, ok: 4 };

export class Overview {
  constructor(root, app) {
    this.app = app;
    this.streams = new Map();
    this.shown = [];
    this.tiles = new Map();
    this.sparks = new Map();
    this.filter = "all";
    this.query = "";
    this.order = "name";
    this.columns = 1;
    this.build(root);
    this.feed = new Feed("/api/overview", {
      hello: () => this.reset(),
      rows: (data) => this.rows(data),
      events: () => {},
    }, app.tell);
    this.watcher = new ResizeObserver(() => this.arrange());
    this.watcher.observe(this.grid);
    this.onScroll = () => this.render();
    window.addEventListener("scroll", this.onScroll, { passive: true });
    this.timer = setInterval(() => this.pull(), SPARK_MS);
  }

  build(root) {
    this.search = h("input", {
      type: "search", id: "search", placeholder: S.overview.search, "aria-label": S.overview.search, maxlength: 64,
      oninput: () => { this.query = this.search.value.trim().toLowerCase(); this.pick(); },
    });
    this.buttons = new Map(FILTERS.map((name) => [name, h("button", {
      type: "button", class: "chip", "aria-pressed": String(name === this.filter), "data-filter": name,
      onclick: () => { this.filter = name; this.press(); this.pick(); },
    })]));
    this.select = h("select", {
      "aria-label": S.overview.sort,
      onchange: () => { this.order = this.select.value; this.pick(); },
    }, h("option", { value: "name" }, S.overview.byName), h("option", { value: "need" }, S.overview.byNeed));
    this.count = h("p", { class: "count", role: "status", "aria-live": "polite" });
    this.grid = h("div", { class: "tiles", role: "list", "aria-label": S.overview.title });
    this.empty = h("div", { class: "empty" });
    fill(root,
      h("div", { class: "bar" },
        h("h1", { class: "visually-hidden" }, S.overview.title), this.search,
        h("div", { class: "chips", role: "group", "aria-label": S.overview.filter }, ...this.buttons.values()),
        this.select, this.count),
      this.empty, this.grid);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.press();
  }

  press() {
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(name === this.filter));
  }

  reset() {
    this.streams.clear();
  }

  rows({ rows, gone, vitals }) {
    for (const row of rows) this.streams.set(row[0], parse(row));
    for (const id of gone) this.streams.delete(id);
    this.app.vitals(vitals);
    if (rows.length || gone.length || !this.shown.length) this.pick();
  }

  pick() {
    const passes = PASSES[this.filter];
    const wanted = [...this.streams.values()].filter((s) => passes(s)
      && (!this.query || s.id.toLowerCase().includes(this.query) || s.label.toLowerCase().includes(this.query)));
    const byName = (a, b) => a.id.localeCompare(b.id, "en", { numeric: true });
    wanted.sort(this.order === "need" ? (a, b) => NEED[a.kind] - NEED[b.kind] || byName(a, b) : byName);
    this.shown = wanted;
    const all = [...this.streams.values()];
    for (const [name, button] of this.buttons) {
      const label = { all: S.overview.all, suspect: S.overview.suspect, abstain: S.overview.abstain, lead: S.overview.lead,
        offline: S.overview.offline }[name];
      text(button, `${label} ${all.filter(PASSES[name]).length}`);
    }
    text(this.count, S.overview.count(wanted.length, all.length));
    this.empty.hidden = wanted.length > 0;
    if (!wanted.length) {
      fill(this.empty, h("p", {}, all.length ? S.overview.nothing : S.overview.empty),
        all.length ? null : h("p", { class: "muted" }, S.overview.emptyHint));
    }
    this.arrange();
  }

  arrange() {
    const width = this.grid.clientWidth;
    this.columns = Math.max(1, Math.floor((width + GAP) / (TILE_MIN + GAP)));
    this.tileWidth = (width - GAP * (this.columns - 1)) / this.columns;
    const lines = Math.ceil(this.shown.length / this.columns);
    this.grid.style.height = `${Math.max(0, lines * (TILE_HEIGHT + GAP) - GAP)}px`;
    this.render();
  }

  // Tiles in sight and one screen more; each element is kept with its stream.
  render() {
    const top = this.grid.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((-top - 300) / (TILE_HEIGHT + GAP)));
    const to = Math.ceil((window.innerHeight - top + 300) / (TILE_HEIGHT + GAP));
    const wanted = new Map();
    for (let i = from * this.columns; i < Math.min(this.shown.length, to * this.columns); i += 1) {
      wanted.set(this.shown[i].id, i);
    }
    for (const [id, tile] of this.tiles) {
      if (!wanted.has(id)) {
        if (tile.root.contains(document.activeElement)) continue; // the keyboard is there
        tile.root.remove();
        this.tiles.delete(id);
      }
    }
    let before = null;
    for (const [id, at] of wanted) {
      let tile = this.tiles.get(id);
      if (!tile) {
        tile = this.tile(id);
        this.tiles.set(id, tile);
      }
      // In the order of the screen, for the Tab key and for screen readers.
      const place = before ? before.nextSibling : this.grid.firstChild;
      if (tile.root !== place) this.grid.insertBefore(tile.root, place);
      before = tile.root;
      this.show(tile, this.shown[at], at);
    }
  }

  tile(id) {
    const tile = {
      canvas: h("canvas", { "aria-hidden": "true" }), name: h("span", { class: "id" }),
      label: h("span", { class: "label" }), score: h("span", { class: "score" }),
      note: h("span", { class: "note" }), badge: h("span"), drawn: null, kind: null, said: "", height: SIGNAL,
    };
    tile.link = h("a", { class: "tile", href: `#/stream/${encodeURIComponent(id)}` },
      h("span", { class: "head" }, tile.name, tile.badge), tile.canvas,
      h("span", { class: "foot" }, tile.label, tile.score), tile.note);
    tile.root = h("div", { role: "listitem", class: "slot" }, tile.link);
    tile.root.style.height = `${TILE_HEIGHT}px`;
    text(tile.name, id);
    return tile;
  }

  show(tile, stream, at) {
    const column = at % this.columns, line = Math.floor(at / this.columns);
    tile.root.style.transform = `translate(${column * (this.tileWidth + GAP)}px, ${line * (TILE_HEIGHT + GAP)}px)`;
    tile.root.style.width = `${this.tileWidth}px`;
    tile.at = at;
    if (tile.kind !== stream.kind) {
      tile.kind = stream.kind;
      tile.link.className = `tile ${stream.kind}`;
      tile.badge.replaceChildren(badge(stream.kind));
    }
    text(tile.label, stream.label || "–");
    text(tile.score, stream.label ? stream.score.toFixed(2) : "");
    const note = stream.lead ? S.overview.lead_off
      : stream.status !== "ok" && stream.why ? reason(stream.why)
        : stream.online && stream.lag > 2 ? S.overview.lag(stream.lag.toFixed(1)) : "";
    if (tile.said !== note || (note && tile.width !== this.tileWidth)) {
      tile.said = note;
      text(tile.note, note);
      tile.note.title = note;
      tile.height = SIGNAL - tile.note.offsetHeight;
      tile.drawn = null;
    }
    tile.link.setAttribute("aria-label",
      S.overview.tile(stream.id, stream.label, stream.score.toFixed(2), S.status[stream.kind], stream.online));
    this.draw(tile, this.sparks.get(stream.id));
  }

  draw(tile, spark) {
    if (tile.drawn === spark && tile.width === this.tileWidth) return;
    tile.drawn = spark;
    tile.width = this.tileWidth;
    const width = Math.max(40, this.tileWidth - SIDES), height = tile.height;
    const context = sized(tile.canvas, width, height);
    context.clearRect(0, 0, width, height);
    if (!spark) return;
    const values = spark.v.filter((v) => v !== null);
    if (!values.length) return;
    const low = Math.min(...values), high = Math.max(...values), span = Math.max(high - low, 1);
    const y = (v) => (high === low ? height / 2 : 4 + (height - 8) * (1 - (v - low) / span));
    const step = width / (spark.v.length / 2);
    context.strokeStyle = css("--ink");
    context.lineWidth = 1.2;
    context.lineJoin = "round";
    context.beginPath();
    let open = false;
    for (let i = 0; i < spark.v.length; i += 2) {
      const a = spark.v[i], b = spark.v[i + 1], at = (i / 2 + 0.5) * step;
      if (a === null) {
        open = false;
        continue;
      }
      if (open) context.lineTo(at, y(b));
      else context.moveTo(at, y(b));
      context.lineTo(at, y(a));
      open = true;
    }
    context.stroke();
  }

  async pull() {
    if (document.hidden || this.pulling || !this.tiles.size) return;
    this.pulling = true;
    try {
      const names = [...this.tiles.keys()].slice(0, 120);
      const found = await get("/api/sparks", { streams: names.join(",") });
      this.sparks = new Map(Object.entries(found));
      for (const [id, tile] of this.tiles) this.draw(tile, this.sparks.get(id));
    } catch {
      // the feed tells when the agent is away
    } finally {
      this.pulling = false;
    }
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns }[event.key];
    const tile = [...this.tiles.values()].find((one) => one.link === document.activeElement);
    if (!step || !tile) return;
    const next = this.shown[tile.at + step];
    if (!next) return;
    event.preventDefault();
    const line = Math.floor((tile.at + step) / this.columns);
    const top = this.grid.getBoundingClientRect().top + window.scrollY + line * (TILE_HEIGHT + GAP);
    if (top < window.scrollY + 80 || top + TILE_HEIGHT > window.scrollY + window.innerHeight)
      window.scrollTo(0, Math.max(0, top - window.innerHeight / 2));
    this.render();
    this.tiles.get(next.id)?.link.focus({ preventScroll: true });
  }

  shortcut(event) {
    if (event.key === "/") {
      event.preventDefault();
      this.search.focus();
    }
  }

  repaint() {
    for (const tile of this.tiles.values()) {
      const spark = tile.drawn;
      tile.drawn = null;
      this.draw(tile, spark);
    }
  }

  close() {
    this.feed.close();
    this.watcher.disconnect();
    clearInterval(this.timer);
    window.removeEventListener("scroll", this.onScroll);
  }
}
