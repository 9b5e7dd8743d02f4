// The signal as it is held in the browser: unbroken runs in the order of time, never two of the same moment.

const KEEP_S = 1800; // half an hour at 300 Hz is 2 MB
const JUMP_S = 1; // a count whose time is off by more began anew
const OVERLAP_S = 300;

export function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

class Run {
  constructor(segment, values) {
    Object.assign(this, {
      epoch: segment.epoch, first: segment.first, t0: segment.t0, rate: segment.rate_hz,
      lead: segment.lead_off, units: segment.units, channels: segment.channels,
    });
    this.values = values;
    this.n = values.length;
  }

  get end() {
    return this.t0 + this.n / this.rate;
  }

  push(values) {
    if (this.n + values.length > this.values.length) {
      const grown = new Float32Array(Math.max(2 * this.values.length, this.n + values.length));
      grown.set(this.values.subarray(0, this.n));
      this.values = grown;
    }
    this.values.set(values, this.n);
    this.n += values.length;
  }

  // Forget what lies after a time, or before it.
  cutAfter(t) {
    this.n = Math.max(0, Math.min(this.n, Math.round((t - this.t0) * this.rate)));
  }

  cutBefore(t) {
    const k = Math.max(0, Math.min(this.n, Math.ceil((t - this.t0) * this.rate)));
    this.values = this.values.slice(k, this.n);
    this.n -= k;
    this.first += k;
    this.t0 += k / this.rate;
  }
}

export class Timeline {
  constructor() {
    this.runs = [];
    this.skips = [];
    this.fresh = false;
  }

  get start() {
    return this.runs.length ? this.runs[0].t0 : null;
  }

  get end() {
    return this.runs.length ? this.runs[this.runs.length - 1].end : null;
  }

  get unit() {
    return this.runs.length ? this.runs[this.runs.length - 1].units[0] : "";
  }

  // A snapshot follows: what it covers is taken from it alone.
  expectSnapshot() {
    this.fresh = true;
  }

  append(segments, skipped = 0) {
    if (!segments.length) return;
    if (this.fresh) {
      this.fresh = false;
      this.cut(segments[0]);
    }
    if (skipped > 0 && this.end !== null) this.skips.push([this.end, segments[0].t0]);
    for (const segment of segments) this.add(segment);
    const oldest = this.end - KEEP_S;
    while (this.runs.length && this.runs[0].end < oldest) this.runs.shift();
    if (this.runs.length && this.runs[0].t0 < oldest - 60) this.runs[0].cutBefore(oldest);
    this.skips = this.skips.filter(([, until]) => until > oldest);
  }

  add(segment) {
    let values = floats(segment.data).subarray(0, segment.n); // the first channel
    const last = this.runs[this.runs.length - 1];
    if (last && last.epoch === segment.epoch && last.rate === segment.rate_hz) {
      const late = last.first + last.n - segment.first;
      const due = last.t0 + (segment.first - last.first) / last.rate;
      // What follows by the count follows, whatever the clocks say; a count that began anew says so by its time.
      if (late === 0 || Math.abs(due - segment.t0) < JUMP_S) {
        if (late >= values.length) return;
        if (late >= 0 && last.lead === segment.lead_off) {
          last.push(values.subarray(late));
          return;
        }
        values = values.subarray(Math.max(late, 0));
        segment = { ...segment, first: segment.first + Math.max(late, 0), t0: due + Math.max(late, 0) / last.rate };
      }
    }
    // Another count that seems to begin before the last one ended: clocks disagree, the order of arrival does not.
    // Only where a clock was set back by minutes is what lay after it given up.
    if (last && segment.t0 < last.end) {
      if (last.end - segment.t0 < OVERLAP_S) segment = { ...segment, t0: last.end };
      else this.truncate(segment.t0);
    }
    this.runs.push(new Run(segment, values.slice()));
  }

  // Forget what a snapshot that begins with this segment covers: by the count where it goes on, else by time.
  cut(segment) {
    const at = this.runs.findIndex((run) => run.epoch === segment.epoch && run.rate === segment.rate_hz
      && run.first <= segment.first && segment.first <= run.first + run.n
      && Math.abs(run.t0 + (segment.first - run.first) / run.rate - segment.t0) < 5 * JUMP_S);
    if (at < 0) {
      this.truncate(segment.t0);
      return;
    }
    this.runs.length = at + 1;
    this.runs[at].n = segment.first - this.runs[at].first;
    if (this.runs[at].n === 0) this.runs.pop();
  }

  truncate(t) {
    while (this.runs.length && this.runs[this.runs.length - 1].t0 >= t) this.runs.pop();
    if (this.runs.length) this.runs[this.runs.length - 1].cutAfter(t);
    if (this.runs.length && this.runs[this.runs.length - 1].n === 0) this.runs.pop();
  }

  // Older samples, from the recorder: only what lies before everything held, by the count where it is the same one.
  prepend(segments) {
    const head = this.runs[0], older = new Timeline();
    for (const segment of segments) {
      const same = head && segment.epoch === head.epoch && segment.rate_hz === head.rate
        && Math.abs(head.t0 - segment.t0 - (head.first - segment.first) / head.rate) < OVERLAP_S;
      if (!same) {
        if (!head || segment.t0 < head.t0) older.add(segment);
      } else if (segment.first < head.first) {
        const n = Math.min(segment.n, head.first - segment.first);
        older.add({ ...segment, n, t0: head.t0 - (head.first - segment.first) / head.rate });
      }
    }
    const last = older.runs[older.runs.length - 1];
    const over = head && last ? last.end - head.t0 : 0;
    if (over > 0) for (const run of older.runs) run.t0 -= over; // as in add: the order is what is sure
    this.runs.unshift(...older.runs.filter((run) => run.n > 0));
    return older.runs.length > 0;
  }

  // Where a count of the source lies on this timeline: clocks are fitted anew with each block, counts are not.
  timeOf(epoch, seconds, near) {
    for (let i = this.runs.length - 1; i >= 0; i -= 1) {
      const run = this.runs[i];
      if (run.epoch !== epoch) continue;
      const t = run.t0 + seconds - run.first / run.rate;
      // The newest run that holds it; a window may also begin before what is held.
      if ((t >= run.t0 && t <= run.end) || Math.abs(t - near) < 5) return t;
    }
    return near;
  }

  between(since, until) {
    return this.runs.filter((run) => run.end > since && run.t0 < until);
  }
}
