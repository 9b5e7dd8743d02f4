/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: CRC-32, counter and tag, COBS. PROTOCOL.md sections 1 and 6. */
#include "ww_frame.h"

uint32_t ww_crc32(const uint8_t *bytes, size_t size)
{
    /* One nibble a step: 64 bytes of table, a quarter of the time of single bits. */
    static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                       0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                       0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    uint32_t crc = 0xFFFFFFFFu;
    while (size-- > 0) {
        crc ^= *bytes++;
        crc = table[crc & 15] ^ crc >> 4;
        crc = table[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

void ww_link_init(ww_link *link, const uint8_t *key, uint32_t boot)
{
    link->key = key;
    link->boot = boot;
    link->sent = 0;
    link->next_counter = 0;
}

void ww_frame_begin(ww_frame *frame, uint8_t type, uint8_t *out, size_t capacity, size_t *size)
{
    *size = 0;
    frame->body = out + WW_COBS_BYTES;
    frame->room = capacity > WW_FRAME_BYTES(0) ? capacity - WW_FRAME_BYTES(0) : 0;
    if (frame->room > WW_MAX_BODY) {
        frame->room = WW_MAX_BODY;
    }
    frame->at = 0;
    frame->bad = false;
    ww_put(frame, WW_VERSION | (uint32_t)type << 8, 2);
}

void ww_put(ww_frame *frame, uint32_t value, uint8_t bytes)
{
    while (bytes-- > 0) {
        if (frame->at < frame->room) {
            frame->body[frame->at] = (uint8_t)(value & 0xFF);
        }
        frame->at++;
        value >>= 8;
    }
}

ww_result ww_frame_seal(ww_frame *frame, ww_link *link)
{
    bool tagged = link != NULL && link->key != NULL;
    if (frame->bad) {
        return WW_ARGUMENT;
    }
    if (frame->at + WW_CRC_BYTES + (tagged ? WW_TRAILER_BYTES : 0) > frame->room) {
        return WW_ROOM;
    }
    if (tagged) {
        uint64_t tag;
        if (link->sent == 0xFFFFFFFFu) {
            return WW_EXHAUSTED;
        }
        frame->body[1] |= WW_TAGGED;
        ww_put(frame, link->sent++, 4);
        ww_put(frame, link->boot, 4);
        tag = ww_siphash24(link->key, frame->body, frame->at);
        ww_put(frame, (uint32_t)(tag & 0xFFFFFFFFu), 4);
        ww_put(frame, (uint32_t)(tag >> 32), 4);
    }
    ww_put(frame, ww_crc32(frame->body, frame->at), 4);
    return WW_OK;
}

size_t ww_frame_stuff(const ww_frame *frame, uint8_t *out)
{
    /* In place: what was read is always ahead of what is written, by the code bytes still to come. */
    const uint8_t *from = frame->body, *end = frame->body + frame->at;
    uint8_t *to = out + 1, *code = out;
    *code = 1;
    while (from < end) {
        uint8_t byte = *from++;
        if (byte != 0) {
            *to++ = byte;
            ++*code;
        }
        if (byte == 0 || (*code == 0xFF && from < end)) {
            code = to++;
            *code = 1;
        }
    }
    *to++ = 0;
    return (size_t)(to - out);
}

ww_result ww_frame_end(ww_frame *frame, ww_link *link, uint8_t *out, size_t *size)
{
    ww_result result = ww_frame_seal(frame, link);
    if (result == WW_OK) {
        *size = ww_frame_stuff(frame, out);
    }
    return result;
}
