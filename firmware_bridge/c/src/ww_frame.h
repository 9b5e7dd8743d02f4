/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the library: a body that grows in the caller's output buffer. Not for sketches. */
#ifndef WW_FRAME_H
#define WW_FRAME_H

#include "wavewall.h"

#define WW_VERSION 0x10
#define WW_TAGGED 0x80
#define WW_FROM_GATEWAY 0x40
#define WW_TRAILER_BYTES 16
#define WW_CRC_BYTES 4
/* Most code bytes that COBS adds to a body: the body is built this far into the buffer and then moved down
 * while it is encoded, so that no second buffer is needed. */
#define WW_COBS_BYTES 5

enum { WW_TYPE_HELLO = 1, WW_TYPE_SAMPLES = 2, WW_TYPE_STATUS = 3, WW_TYPE_LOG = 4, WW_TYPE_ACK = 5 };

typedef struct {
    uint8_t *body;
    size_t room; /* for the body, CRC included */
    size_t at;   /* bytes written; above room where they did not fit */
    bool bad;    /* a field was outside its cap */
} ww_frame;

void ww_frame_begin(ww_frame *frame, uint8_t type, uint8_t *out, size_t capacity, size_t *size);
void ww_put(ww_frame *frame, uint32_t value, uint8_t bytes);
/* Appends counter, tag and CRC. */
ww_result ww_frame_seal(ww_frame *frame, ww_link *link);
/* Encodes the sealed body; returns the frame's size. */
size_t ww_frame_stuff(const ww_frame *frame, uint8_t *out);
/* Both. */
ww_result ww_frame_end(ww_frame *frame, ww_link *link, uint8_t *out, size_t *size);

void ww_put_samples(ww_frame *frame, const ww_samples *samples);
/* The data of a PACKED block of that order; its size is what ww_packed_size() says. */
void ww_put_packed(ww_frame *frame, const ww_samples *samples, uint8_t order);
uint16_t ww_packed_size(const ww_samples *samples, uint8_t order);

static inline uint16_t ww_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint16_t)p[1] << 8);
}

static inline uint32_t ww_get32(const uint8_t *p)
{
    return (uint32_t)ww_get16(p) | (uint32_t)ww_get16(p + 2) << 16;
}

/* Whether a comes before b where both count modulo 2^32. */
static inline bool ww_before(uint32_t a, uint32_t b)
{
    return a - b > 0x7FFFFFFFu;
}

#endif
