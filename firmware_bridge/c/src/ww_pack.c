/* SPDX-License-Identifier: Apache-2.0 */
/* Lossless packing of a block: differences, zigzag, groups of eight of one width. PROTOCOL.md section 2. */
#include "ww_frame.h"

#define GROUP 8

/* Residual of sample k of a channel, folded so that small ones of either sign are small; modulo 2^16. */
static uint16_t residual(const ww_samples *samples, uint8_t channel, uint8_t k, uint8_t order)
{
    const int16_t *x = samples->values + (size_t)k * samples->channel_count + channel;
    uint16_t r = (uint16_t)x[0];
    if (order > 0) {
        uint16_t before = (uint16_t)*(x - samples->channel_count);
        r = (uint16_t)(r - before);
        if (order > 1) {
            r = (uint16_t)(r - before + (uint16_t)*(x - 2 * samples->channel_count));
        }
    }
    return (uint16_t)((uint16_t)(r << 1) ^ ((r & 0x8000u) != 0 ? 0xFFFFu : 0u));
}

/* Bits that the largest of the group's values needs; 15 is sent as 16. */
static uint8_t width(const ww_samples *samples, uint8_t channel, uint8_t start, uint8_t order)
{
    uint16_t any = 0;
    uint8_t bits = 0, k;
    for (k = start; k < samples->count && k - start < GROUP; k++) {
        any |= residual(samples, channel, k, order);
    }
    while (any != 0) {
        any >>= 1;
        bits++;
    }
    return bits == 15 ? 16 : bits;
}

static uint8_t heads(const ww_samples *samples, uint8_t order)
{
    return samples->count < order ? samples->count : order;
}

static uint8_t groups(const ww_samples *samples, uint8_t order)
{
    return (uint8_t)((samples->count - heads(samples, order) + GROUP - 1) / GROUP);
}

uint16_t ww_packed_size(const ww_samples *samples, uint8_t order)
{
    uint8_t head = heads(samples, order), n = groups(samples, order), channel, group;
    uint16_t size = 1;
    for (channel = 0; channel < samples->channel_count; channel++) {
        size = (uint16_t)(size + 2u * head + (n + 1u) / 2);
        for (group = 0; group < n; group++) {
            size = (uint16_t)(size + width(samples, channel, (uint8_t)(head + group * GROUP), order));
        }
    }
    return size;
}

static void put_group(ww_frame *frame, const ww_samples *samples, uint8_t channel, uint8_t start,
                      uint8_t order)
{
    uint8_t bits = width(samples, channel, start, order), held = 0, j;
    uint32_t acc = 0;
    for (j = 0; j < GROUP; j++) {
        if (j < samples->count - start) {
            acc |= (uint32_t)residual(samples, channel, (uint8_t)(start + j), order) << held;
        }
        held = (uint8_t)(held + bits);
        for (; held >= 8; held = (uint8_t)(held - 8)) {
            ww_put(frame, acc, 1);
            acc >>= 8;
        }
    }
}

void ww_put_packed(ww_frame *frame, const ww_samples *samples, uint8_t order)
{
    uint8_t head = heads(samples, order), n = groups(samples, order), channel, k;
    ww_put(frame, order, 1);
    for (channel = 0; channel < samples->channel_count; channel++) {
        uint8_t pair = 0;
        for (k = 0; k < head; k++) {
            ww_put(frame, (uint16_t)samples->values[(size_t)k * samples->channel_count + channel], 2);
        }
        for (k = 0; k < n; k++) {
            uint8_t bits = width(samples, channel, (uint8_t)(head + k * GROUP), order);
            uint8_t nibble = bits > 15 ? 15 : bits;
            pair = (uint8_t)(k % 2 == 0 ? nibble : pair | nibble << 4);
            if (k % 2 == 1 || k == n - 1) {
                ww_put(frame, pair, 1);
            }
        }
        for (k = 0; k < n; k++) {
            put_group(frame, samples, channel, (uint8_t)(head + k * GROUP), order);
        }
    }
}
