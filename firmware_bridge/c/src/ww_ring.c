/* SPDX-License-Identifier: Apache-2.0 */
/* The SAMPLES that were sent last, to send them again. PROTOCOL.md section 4.
 *
 * Each block is kept as two bytes of length and its payload: seq first, samples per channel at offset 10. A
 * frame that is made again from it is the same to the byte, or, with a key, has a new counter and tag. */
#include "ww_frame.h"

#define LENGTH_BYTES 2
#define HEADER_BYTES 13
#define COUNT_AT 10

void ww_ring_init(ww_ring *ring, uint8_t *memory, size_t size)
{
    ring->memory = memory;
    ring->size = memory == NULL ? 0 : size;
    ring->oldest = 0;
    ring->used = 0;
    ring->first_seq = 0;
    ring->end_seq = 0;
}

uint16_t ww_ring_samples(const ww_ring *ring, uint8_t channel_count, uint8_t count)
{
    size_t block = LENGTH_BYTES + HEADER_BYTES + (size_t)2 * channel_count * count;
    uint32_t samples = (uint32_t)(ring->size / block) * count;
    return samples > WW_MAX_RESEND ? (uint16_t)WW_MAX_RESEND : (uint16_t)samples;
}

/* Position of the byte `offset` bytes after the oldest one; offset is at most the ring's size. */
static size_t place(const ww_ring *ring, size_t offset)
{
    size_t to_end = ring->size - ring->oldest;
    return offset < to_end ? ring->oldest + offset : offset - to_end;
}

static uint32_t read(const ww_ring *ring, size_t offset, uint8_t bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0) {
        value = value << 8 | ring->memory[place(ring, offset + bytes)];
    }
    return value;
}

static void keep(ww_ring *ring, const uint8_t *payload, size_t length)
{
    size_t i;
    if (length + LENGTH_BYTES > ring->size) {
        return;
    }
    while (ring->size - ring->used < length + LENGTH_BYTES) {
        size_t gone = (size_t)read(ring, 0, LENGTH_BYTES) + LENGTH_BYTES;
        ring->oldest = place(ring, gone);
        ring->used -= gone;
    }
    for (i = 0; i < length + LENGTH_BYTES; i++) {
        uint8_t byte = (uint8_t)(i < LENGTH_BYTES ? length >> (8 * i) : payload[i - LENGTH_BYTES]);
        ring->memory[place(ring, ring->used + i)] = byte;
    }
    ring->used += length + LENGTH_BYTES;
}

ww_result ww_ring_encode(ww_ring *ring, ww_link *link, const ww_samples *samples, uint8_t *out,
                         size_t capacity, size_t *size)
{
    ww_frame frame;
    ww_result result;
    size_t end;
    ww_frame_begin(&frame, WW_TYPE_SAMPLES, out, capacity, size);
    ww_put_samples(&frame, samples);
    end = frame.at;
    result = ww_frame_seal(&frame, link);
    if (result == WW_OK) {
        keep(ring, frame.body + 2, end - 2);
        *size = ww_frame_stuff(&frame, out);
    }
    return result;
}

/* Offset of the first block from `offset` on that overlaps what is asked for; ring->used: none does. */
static size_t find(const ww_ring *ring, size_t offset, uint32_t first_seq, uint32_t end_seq)
{
    while (offset < ring->used) {
        uint32_t seq = read(ring, offset + LENGTH_BYTES, 4);
        uint32_t count = read(ring, offset + LENGTH_BYTES + COUNT_AT, 1);
        if (ww_before(seq, end_seq) && ww_before(first_seq, seq + count)) {
            break;
        }
        offset += (size_t)read(ring, offset, LENGTH_BYTES) + LENGTH_BYTES;
    }
    return offset;
}

uint8_t ww_ring_ask(ww_ring *ring, uint32_t first_seq, uint32_t end_seq, uint32_t *value)
{
    uint32_t missing = end_seq - first_seq;
    size_t offset;
    *value = 0;
    if (ring->first_seq != ring->end_seq) {
        return WW_ACK_BUSY;
    }
    offset = find(ring, 0, first_seq, end_seq);
    if (offset >= ring->used) {
        return WW_ACK_GONE;
    }
    *value = read(ring, offset + LENGTH_BYTES, 4);
    ring->first_seq = first_seq;
    ring->end_seq = end_seq;
    while (offset < ring->used) {
        uint32_t from = read(ring, offset + LENGTH_BYTES, 4);
        uint32_t to = from + read(ring, offset + LENGTH_BYTES + COUNT_AT, 1);
        from = ww_before(from, first_seq) ? first_seq : from;
        to = ww_before(end_seq, to) ? end_seq : to;
        missing -= to - from;
        offset += (size_t)read(ring, offset, LENGTH_BYTES) + LENGTH_BYTES;
        offset = find(ring, offset, first_seq, end_seq);
    }
    return missing == 0 ? WW_ACK_DONE : WW_ACK_PARTIAL;
}

ww_result ww_ring_next(ww_ring *ring, ww_link *link, uint8_t *out, size_t capacity, size_t *size)
{
    ww_frame frame;
    ww_result result;
    size_t offset, length, i;
    ww_frame_begin(&frame, WW_TYPE_SAMPLES, out, capacity, size);
    if (ring->first_seq == ring->end_seq) {
        return WW_NONE;
    }
    offset = find(ring, 0, ring->first_seq, ring->end_seq);
    if (offset >= ring->used) {
        ring->end_seq = ring->first_seq;
        return WW_NONE;
    }
    length = (size_t)read(ring, offset, LENGTH_BYTES);
    for (i = 0; i < length; i++) {
        ww_put(&frame, read(ring, offset + LENGTH_BYTES + i, 1), 1);
    }
    result = ww_frame_end(&frame, link, out, size);
    if (result == WW_OK) {
        uint32_t next = read(ring, offset + LENGTH_BYTES, 4) + read(ring, offset + LENGTH_BYTES + COUNT_AT, 1);
        ring->first_seq = ww_before(next, ring->end_seq) ? next : ring->end_seq;
    }
    return result;
}
