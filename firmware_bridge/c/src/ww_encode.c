/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a device, field by field. PROTOCOL.md section 2. */
#include "ww_frame.h"

static bool is_allowed(char c, bool in_name)
{
    if (!in_name) {
        return c >= ' ' && c <= '~';
    }
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A length byte and the text: at least 1 character where it is a name. */
static void put_text(ww_frame *frame, const char *text, uint8_t least, uint8_t most, bool in_name)
{
    uint8_t size = 0, i;
    while (text[size] != '\0' && size <= most) {
        frame->bad |= !is_allowed(text[size], in_name);
        size++;
    }
    frame->bad |= size < least || size > most;
    ww_put(frame, size, 1);
    for (i = 0; i < size; i++) {
        ww_put(frame, (uint8_t)text[i], 1);
    }
}

static void put_decimal(ww_frame *frame, ww_decimal number)
{
    frame->bad |= number.exponent < -30 || number.exponent > 30;
    ww_put(frame, (uint32_t)number.mantissa, 4);
    ww_put(frame, (uint8_t)number.exponent, 1);
}

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

ww_result ww_encode_hello(ww_link *link, const ww_hello *hello, uint8_t *out, size_t capacity, size_t *size)
{
    ww_frame frame;
    uint8_t i, j;
    ww_frame_begin(&frame, WW_TYPE_HELLO, out, capacity, size);
    if (hello->rate_num == 0 || hello->rate_den == 0 || (hello->rate_num - 1) / hello->rate_den >= WW_MAX_RATE_HZ ||
        hello->channel_count == 0 || hello->channel_count > WW_MAX_CHANNELS) {
        return WW_ARGUMENT;
    }
    ww_put(&frame, hello->boot, 4);
    ww_put(&frame, hello->rate_num, 4);
    ww_put(&frame, hello->rate_den, 2);
    ww_put(&frame, hello->obeys_commands, 1);
    ww_put(&frame, hello->resend, 2);
    ww_put(&frame, hello->channel_count, 1);
    put_text(&frame, hello->device_id, 1, WW_MAX_DEVICE_ID, true);
    put_text(&frame, hello->firmware, 0, WW_MAX_FIRMWARE, false);
    for (i = 0; i < hello->channel_count; i++) {
        const ww_channel *channel = &hello->channels[i];
        for (j = 0; j < i; j++) {
            frame.bad |= same(channel->name, hello->channels[j].name);
        }
        frame.bad |= channel->scale.mantissa == 0;
        put_text(&frame, channel->name, 1, WW_MAX_CHANNEL_NAME, true);
        put_text(&frame, channel->unit, 1, WW_MAX_UNIT, false);
        put_decimal(&frame, channel->scale);
        put_decimal(&frame, channel->offset);
    }
    return ww_frame_end(&frame, link, out, size);
}

void ww_put_samples(ww_frame *frame, const ww_samples *samples)
{
    size_t values = (size_t)samples->count * samples->channel_count, i;
    uint16_t best = (uint16_t)(2 * values);
    uint8_t order, chosen = 0;
    bool packed = false;
    if (samples->channel_count == 0 || samples->channel_count > WW_MAX_CHANNELS) {
        frame->bad = true;
        return;
    }
    for (order = 0; samples->pack && order <= 2; order++) {
        uint16_t bytes = ww_packed_size(samples, order);
        if (bytes < best) {
            best = bytes;
            chosen = order;
            packed = true;
        }
    }
    ww_put(frame, samples->seq, 4);
    ww_put(frame, samples->time_us, 4);
    ww_put(frame, (uint32_t)samples->end | (uint32_t)packed << 1, 1);
    ww_put(frame, samples->channel_count, 1);
    ww_put(frame, samples->count, 1);
    ww_put(frame, samples->lead_off, 2);
    if (packed) {
        ww_put_packed(frame, samples, chosen);
        return;
    }
    for (i = 0; i < values; i++) {
        ww_put(frame, (uint16_t)samples->values[i], 2);
    }
}

ww_result ww_encode_samples(ww_link *link, const ww_samples *samples, uint8_t *out, size_t capacity, size_t *size)
{
    ww_frame frame;
    ww_frame_begin(&frame, WW_TYPE_SAMPLES, out, capacity, size);
    ww_put_samples(&frame, samples);
    return ww_frame_end(&frame, link, out, size);
}

ww_result ww_encode_status(ww_link *link, const ww_status *status, uint8_t *out, size_t capacity, size_t *size)
{
    ww_frame frame;
    ww_frame_begin(&frame, WW_TYPE_STATUS, out, capacity, size);
    frame.bad = status->battery_percent > 100 && status->battery_percent != WW_BATTERY_UNKNOWN_PERCENT;
    ww_put(&frame, status->boot, 4);
    ww_put(&frame, status->time_us, 4);
    ww_put(&frame, status->dropped, 4);
    ww_put(&frame, status->lead_off, 2);
    ww_put(&frame, status->battery_mv, 2);
    ww_put(&frame, status->battery_percent, 1);
    ww_put(&frame, status->charging, 1);
    return ww_frame_end(&frame, link, out, size);
}

ww_result ww_encode_log(ww_link *link, uint32_t time_us, uint8_t level, const char *text, uint8_t *out,
                        size_t capacity, size_t *size)
{
    ww_frame frame;
    size_t most, length = 0, i;
    ww_frame_begin(&frame, WW_TYPE_LOG, out, capacity, size);
    ww_put(&frame, time_us, 4);
    ww_put(&frame, level, 1);
    most = frame.at + 1 + (WW_OVERHEAD - 2);
    if (most > frame.room) {
        return WW_ROOM;
    }
    most = frame.room - most;
    if (most > WW_MAX_LOG) {
        most = WW_MAX_LOG;
    }
    while (text[length] != '\0' && length <= most) {
        length++;
    }
    if (length > most) {
        /* step back over the rest of a character: 10xxxxxx continues one */
        for (length = most; length > 0 && ((uint8_t)text[length] & 0xC0) == 0x80; length--) {
        }
    }
    ww_put(&frame, (uint32_t)length, 1);
    for (i = 0; i < length; i++) {
        ww_put(&frame, (uint8_t)text[i], 1);
    }
    return ww_frame_end(&frame, link, out, size);
}

ww_result ww_encode_ack(ww_link *link, const ww_ack *ack, uint8_t *out, size_t capacity, size_t *size)
{
    ww_frame frame;
    ww_frame_begin(&frame, WW_TYPE_ACK, out, capacity, size);
    ww_put(&frame, ack->id, 2);
    ww_put(&frame, ack->verb, 1);
    ww_put(&frame, ack->result, 1);
    ww_put(&frame, ack->value, 4);
    return ww_frame_end(&frame, link, out, size);
}
