/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to commands and verdicts. PROTOCOL.md sections 1, 3 and 6; checks in the order given there. */
#include "ww_frame.h"

#define MAX_ENCODED (WW_MAX_BODY + WW_COBS_BYTES)

void ww_receiver_init(ww_receiver *receiver)
{
    receiver->length = 0;
    receiver->at = 0;
    receiver->code = 0;
    receiver->left = 0;
}

static void append(ww_receiver *receiver, uint8_t byte)
{
    /* `at` may pass the buffer, by no more than a frame may be long; frame_end() looks. */
    if (receiver->at < WW_RX_BYTES) {
        receiver->body[receiver->at] = byte;
    }
    receiver->at++;
}

/* body[0 .. size - 1] is all before the CRC and carries a tag. */
static ww_result check_tag(ww_link *link, const uint8_t *body, size_t size)
{
    const uint8_t *trailer = body + size - WW_TRAILER_BYTES;
    uint64_t said = (uint64_t)ww_get32(trailer + 8) | (uint64_t)ww_get32(trailer + 12) << 32;
    uint32_t counter = ww_get32(trailer);
    /* our own frames, sent back to us, have a good tag: they must not move the counter */
    if (ww_siphash24(link->key, body, size - 8) != said || (body[1] & WW_FROM_GATEWAY) == 0) {
        return WW_BAD_TAG;
    }
    /* the highest counter is not accepted: after it the lowest would be new again */
    if (ww_get32(trailer + 4) != link->boot || counter < link->next_counter || counter == 0xFFFFFFFFu) {
        return WW_BAD_REPLAYED;
    }
    link->next_counter = counter + 1;
    return WW_OK;
}

static ww_result read_command(const uint8_t *payload, size_t size, ww_command *command)
{
    if (size < 4 || size - 4 < payload[3]) {
        return WW_BAD_PAYLOAD;
    }
    command->id = ww_get16(payload);
    command->verb = payload[2];
    command->first_seq = 0;
    command->end_seq = 0;
    if (command->verb == WW_VERB_RESEND) {
        uint32_t span;
        if (payload[3] < 8) {
            return WW_BAD_PAYLOAD;
        }
        command->first_seq = ww_get32(payload + 4);
        command->end_seq = ww_get32(payload + 8);
        span = command->end_seq - command->first_seq;
        if (span == 0 || span > WW_MAX_RESEND) {
            return WW_BAD_PAYLOAD;
        }
    }
    return WW_OK;
}

static ww_result read_verdict(uint8_t *payload, size_t size, ww_verdict *verdict)
{
    if (size < 13 || size - 13 < payload[12] || payload[12] > WW_MAX_LABEL) {
        return WW_BAD_PAYLOAD;
    }
    verdict->seq = ww_get32(payload);
    verdict->count = ww_get32(payload + 4);
    verdict->status = payload[8] > WW_VERDICT_ABSTAIN ? (uint8_t)WW_VERDICT_ABSTAIN : payload[8];
    verdict->label_index = payload[9];
    verdict->score = ww_get16(payload + 10);
    verdict->label = (const char *)(payload + 13);
    payload[13 + payload[12]] = 0; /* at worst this is the first byte of the CRC, which has done its work */
    return verdict->score > 1000 ? WW_BAD_PAYLOAD : WW_OK;
}

static ww_result frame_end(ww_link *link, ww_receiver *receiver, ww_message *message)
{
    uint8_t *body = receiver->body;
    size_t size = receiver->at;
    bool keyed = link != NULL && link->key != NULL, tagged;
    uint8_t type;
    if (receiver->length > MAX_ENCODED) {
        return WW_BAD_LENGTH;
    }
    if (receiver->left != 0) {
        return WW_BAD_COBS;
    }
    if (size < 2 + WW_CRC_BYTES) {
        return WW_BAD_SHORT;
    }
    if (size > WW_RX_BYTES) {
        return WW_BAD_LENGTH;
    }
    size -= WW_CRC_BYTES;
    if (ww_crc32(body, size) != ww_get32(body + size)) {
        return WW_BAD_CRC;
    }
    if (body[0] >> 4 != WW_VERSION >> 4) {
        return WW_BAD_VERSION;
    }
    tagged = (body[1] & WW_TAGGED) != 0;
    type = (uint8_t)(body[1] & ~WW_TAGGED);
    if (keyed && tagged) {
        ww_result result = size < 2 + WW_TRAILER_BYTES ? WW_BAD_PAYLOAD : check_tag(link, body, size);
        if (result != WW_OK) {
            return result;
        }
    }
    if (keyed && !tagged && !(type == WW_COMMAND && size > 4 && body[4] == WW_VERB_HELLO)) {
        return WW_BAD_NO_TAG;
    }
    if (type != WW_COMMAND && type != WW_VERDICT) {
        return WW_UNKNOWN_TYPE;
    }
    if (tagged) {
        if (size < 2 + WW_TRAILER_BYTES) {
            return WW_BAD_PAYLOAD;
        }
        size -= WW_TRAILER_BYTES;
    }
    message->type = type;
    if (type == WW_COMMAND) {
        return read_command(body + 2, size - 2, &message->as.command);
    }
    return read_verdict(body + 2, size - 2, &message->as.verdict);
}

ww_result ww_receive(ww_link *link, ww_receiver *receiver, uint8_t byte, ww_message *message)
{
    if (byte == 0) {
        ww_result result = receiver->length == 0 ? WW_NONE : frame_end(link, receiver, message);
        ww_receiver_init(receiver);
        return result;
    }
    if (receiver->length > MAX_ENCODED) {
        return WW_NONE; /* too long already; wait for its end */
    }
    receiver->length++;
    if (receiver->left > 0) {
        receiver->left--;
        append(receiver, byte);
        return WW_NONE;
    }
    if (receiver->code != 0 && receiver->code != 0xFF) {
        append(receiver, 0);
    }
    receiver->code = byte;
    receiver->left = (uint8_t)(byte - 1);
    return WW_NONE;
}
