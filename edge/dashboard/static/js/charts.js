// uPlot in this page's colours, as wide as its box.

import { css } from "./dom.js";
import { time } from "./strip.js";

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [4, 2], [1, 2]];

export function labelColour(index) {
  return css(`--series-${index % 6}`);
}

// A chart that is made at its first data and follows its box; `options` as uPlot's, without size.
export class Chart {
  constructor(box, make, height = 180) {
    this.box = box;
    this.make = make;
    this.height = height;
    this.plot = null;
    this.data = null;
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(box);
  }

  set(data) {
    this.data = data;
    if (!this.plot) this.build();
    else this.plot.setData(data);
  }

  build() {
    const width = Math.floor(this.box.clientWidth);
    if (!width || !this.data) return;
    this.plot = new uPlot({ width, height: this.height, ...this.make() }, this.data, this.box);
  }

  resize() {
    const width = Math.floor(this.box.clientWidth);
    if (!this.plot) this.build();
    else if (width && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  // Colours are read when a chart is built: after a change of theme it is built anew.
  again() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
    this.build();
  }

  close() {
    this.watcher.disconnect();
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }
}

export function axes(yLabel, yValues) {
  const common = {
    stroke: css("--muted"), font: "11px Inter, system-ui, sans-serif",
    grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 },
  };
  return [
    { ...common, values: (_, ticks) => ticks.map((t) => time(t)) },
    { ...common, label: yLabel, size: 52, values: yValues },
  ];
}

export function lines(labels) {
  return [
    {},
    ...labels.map((label, i) => ({
      label, stroke: labelColour(i), width: 2, dash: DASHES[i % 6], points: { show: true, size: 5 },
      value: (_, v) => (v === null || v === undefined ? "–" : v.toFixed(2)),
    })),
  ];
}

// Stretches behind the lines, e.g. windows that were suspect: [from, until, colour].
export function spans(read) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [from, until, colour] of read()) {
      const left = plot.valToPos(from, "x", true), right = plot.valToPos(until, "x", true);
      ctx.globalAlpha = 0.18;
      ctx.fillStyle = colour;
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.restore();
  };
}
