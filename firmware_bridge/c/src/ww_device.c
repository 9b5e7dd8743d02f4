/* SPDX-License-Identifier: Apache-2.0 */
/* A device made of the parts: blocks, HELLO and STATUS in time, answers to commands. */
#include "ww_frame.h"

#include <string.h>

#define HELLO_ANSWER_US 1000000u /* answered at most once a second */
#define HELLO_REPEAT_US 2000000u /* unasked, where nobody can ask */
#define STATUS_REPEAT_US 5000000u
#define STATUS_CHANGE_US 250000u /* a loose electrode must not fill the line */

void ww_device_init(ww_device *device, const ww_hello *hello, ww_write write, void *user)
{
    memset(device, 0, sizeof *device);
    device->hello = *hello;
    device->hello.obeys_commands = true;
    device->write = write;
    device->user = user;
    device->status.battery_mv = WW_BATTERY_UNKNOWN_MV;
    device->status.battery_percent = WW_BATTERY_UNKNOWN_PERCENT;
}

void ww_device_use_ring(ww_device *device, uint8_t *memory, size_t size)
{
    ww_ring_init(&device->ring, memory, size);
}

void ww_device_use_key(ww_device *device, const uint8_t *key)
{
    device->link.key = key;
}

static ww_result send(ww_device *device, ww_result encoded, size_t size)
{
    if (encoded == WW_OK && !device->write(device->user, device->frame, size)) {
        return WW_ROOM;
    }
    return encoded;
}

static ww_result send_hello(ww_device *device, uint32_t now_us)
{
    size_t size;
    ww_result result =
        ww_encode_hello(&device->link, &device->hello, device->frame, sizeof device->frame, &size);
    result = send(device, result, size);
    device->hello_due = result == WW_ROOM;
    device->hello_us = now_us;
    return result;
}

static void send_status(ww_device *device, uint32_t now_us)
{
    size_t size;
    ww_result result;
    device->status.boot = device->hello.boot;
    device->status.time_us = now_us;
    device->status_us = now_us;
    device->status_due = false;
    result = ww_encode_status(&device->link, &device->status, device->frame, sizeof device->frame, &size);
    (void)send(device, result, size);
}

ww_result ww_device_start(ww_device *device, uint32_t boot, uint32_t now_us)
{
    static const uint8_t delimiter = 0;
    ww_hello *hello = &device->hello;
    ww_result result;
    if (hello->channel_count == 0 || hello->channel_count > WW_BLOCK_VALUES) {
        return WW_ARGUMENT;
    }
    if (device->block_samples == 0) {
        uint16_t most = (uint16_t)(WW_BLOCK_VALUES / hello->channel_count);
        device->block_samples = (uint8_t)(most > WW_MAX_SAMPLES ? WW_MAX_SAMPLES : most);
    }
    if ((uint32_t)device->block_samples * hello->channel_count > WW_BLOCK_VALUES) {
        return WW_ARGUMENT;
    }
    hello->boot = boot;
    ww_ring_init(&device->ring, device->ring.memory, device->ring.size);
    hello->resend = hello->obeys_commands
                        ? ww_ring_samples(&device->ring, hello->channel_count, device->block_samples)
                        : 0;
    ww_link_init(&device->link, device->link.key, boot);
    device->seq = 0;
    device->block_count = 0;
    device->block_lead_off = 0;
    device->status.dropped = 0;
    device->status_us = now_us;
    device->running = true;
    device->ended = false;
    device->start_asked = false;
    /* ends whatever the line held before, so that it does not spoil HELLO */
    (void)device->write(device->user, &delimiter, 1);
    result = send_hello(device, now_us);
    device->hello_us = now_us - HELLO_ANSWER_US; /* this one was no answer */
    return result;
}

static ww_result send_block(ww_device *device, bool end)
{
    ww_samples samples;
    ww_result result;
    size_t size;
    samples.seq = device->seq;
    samples.time_us = device->block_time_us;
    samples.values = device->block;
    samples.channel_count = device->hello.channel_count;
    samples.count = device->block_count;
    samples.lead_off = device->block_lead_off;
    samples.end = end;
    samples.pack = device->pack;
    if (device->ring.size > 0) {
        result = ww_ring_encode(&device->ring, &device->link, &samples, device->frame, sizeof device->frame,
                                &size);
    } else {
        result = ww_encode_samples(&device->link, &samples, device->frame, sizeof device->frame, &size);
    }
    result = send(device, result, size);
    if (result != WW_OK && device->ring.size == 0) {
        device->status.dropped += device->block_count;
        device->status_due = true;
    }
    device->seq += device->block_count;
    device->block_count = 0;
    device->block_lead_off = 0;
    return result;
}

ww_result ww_device_flush(ww_device *device)
{
    return device->block_count > 0 ? send_block(device, false) : WW_OK;
}

ww_result ww_device_sample(ww_device *device, uint32_t now_us, const int16_t *values, uint16_t lead_off)
{
    uint8_t channels = device->hello.channel_count;
    if (lead_off != device->status.lead_off) {
        device->status.lead_off = lead_off;
        device->status_due = true;
    }
    if (!device->running) {
        device->seq++; /* a pause is a gap of known length */
        return WW_OK;
    }
    if (device->block_count == 0) {
        device->block_time_us = now_us;
    }
    memcpy(device->block + (size_t)device->block_count * channels, values, channels * sizeof *values);
    device->block_lead_off |= lead_off;
    device->block_count++;
    return device->block_count >= device->block_samples ? send_block(device, false) : WW_OK;
}

ww_result ww_device_skip(ww_device *device, uint32_t samples)
{
    ww_result result = ww_device_flush(device);
    device->seq += samples;
    device->status.dropped += samples;
    device->status_due = true;
    return result;
}

ww_result ww_device_end(ww_device *device, uint32_t now_us)
{
    ww_result result;
    if (device->block_count == 0) {
        device->block_time_us = now_us;
    }
    result = send_block(device, true);
    device->running = false;
    device->ended = true;
    return result;
}

static void answer(ww_device *device, const ww_command *command)
{
    ww_ack ack;
    ww_result result;
    size_t size;
    ack.id = command->id;
    ack.verb = command->verb;
    ack.result = WW_ACK_DONE;
    ack.value = 0;
    if (command->verb == WW_VERB_RESEND) {
        if (device->ring.size == 0) {
            ack.result = WW_ACK_GONE;
        } else if (!ww_before(command->first_seq, device->seq)) {
            ack.result = WW_ACK_BAD_ARGUMENT; /* not sent yet */
        } else {
            ack.result = ww_ring_ask(&device->ring, command->first_seq, command->end_seq, &ack.value);
        }
    } else if (command->verb == WW_VERB_STOP) {
        (void)ww_device_flush(device);
        device->running = false;
    } else if (command->verb == WW_VERB_HELLO) {
        device->hello_due = true;
    } else if (command->verb == WW_VERB_START) {
        device->start_asked = device->ended;
        device->running = !device->ended;
    } else {
        ack.result = WW_ACK_UNKNOWN_VERB;
    }
    result = ww_encode_ack(&device->link, &ack, device->frame, sizeof device->frame, &size);
    (void)send(device, result, size);
}

const ww_verdict *ww_device_receive(ww_device *device, uint8_t byte, ww_message *message)
{
    ww_result result = ww_receive(&device->link, &device->receiver, byte, message);
    if (result >= WW_BAD_LENGTH) {
        device->bad++;
        device->last_bad = result;
    }
    if (result != WW_OK) {
        return NULL;
    }
    if (message->type == WW_VERDICT) {
        return &message->as.verdict;
    }
    if (device->hello.obeys_commands) {
        answer(device, &message->as.command);
    }
    return NULL;
}

void ww_device_poll(ww_device *device, uint32_t now_us)
{
    uint32_t since_hello = now_us - device->hello_us, since_status = now_us - device->status_us;
    size_t size;
    ww_result result;
    if ((device->hello_due && since_hello >= HELLO_ANSWER_US) ||
        (!device->hello.obeys_commands && since_hello >= HELLO_REPEAT_US)) {
        (void)send_hello(device, now_us);
    }
    if ((device->status_due && since_status >= STATUS_CHANGE_US) || since_status >= STATUS_REPEAT_US) {
        send_status(device, now_us);
    }
    result = ww_ring_next(&device->ring, &device->link, device->frame, sizeof device->frame, &size);
    (void)send(device, result, size);
}

ww_result ww_device_log(ww_device *device, uint32_t now_us, uint8_t level, const char *text)
{
    size_t size;
    ww_result result =
        ww_encode_log(&device->link, now_us, level, text, device->frame, sizeof device->frame, &size);
    return send(device, result, size);
}
