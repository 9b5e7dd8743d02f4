/* The golden frames against the library: on this machine, and on an emulated Cortex-M3 (-DON_BOARD), where the
 * outcome comes as a LOG. vectors.h is made by vectors_header.py. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wavewall.h"

typedef struct {
    uint32_t time_us;
    uint8_t level;
    const char *text;
} log_case;

#define CANARY 0xA5
#define MAX_FRAME WW_FRAME_BYTES(WW_MAX_BODY)

static const uint8_t other_key[WW_KEY_BYTES] = {1};
static unsigned checks, failures;
static char first_failure[120];
static uint8_t out[MAX_FRAME + 16];

static void expect(bool good, const char *name, const char *what)
{
    checks++;
    if (!good && failures++ == 0) {
        snprintf(first_failure, sizeof first_failure, "%s: %s", name, what);
    }
}

static ww_link make_link(const uint8_t *key, uint32_t boot, uint32_t sent)
{
    ww_link link;
    ww_link_init(&link, key, boot);
    link.sent = sent;
    return link;
}

/* Into every capacity from nothing to what WW_FRAME_BYTES asks for, which is at most 6 bytes more than the
 * frame: the right frame, or "no room" and nothing written behind the end. */
#define CHECK_ENCODER(kind, type, encode)                                                                  \
    static void check_##kind(const char *name, const type *value, const uint8_t *key, uint32_t boot,       \
                             uint32_t sent, const uint8_t *frame, size_t frame_size)                       \
    {                                                                                                      \
        size_t capacity, size = 99;                                                                        \
        for (capacity = 0; capacity <= frame_size + 6; capacity++) {                                       \
            ww_link link = make_link(key, boot, sent);                                                     \
            ww_result result;                                                                              \
            memset(out, CANARY, sizeof out);                                                               \
            result = encode(&link, value, out, capacity, &size);                                           \
            expect(out[capacity] == CANARY && out[capacity + 5] == CANARY, name, "wrote too far");         \
            if (result == WW_OK) {                                                                         \
                expect(size == frame_size && memcmp(out, frame, size) == 0, name, "frame differs");        \
                expect(link.sent == sent + (key != NULL), name, "counter");                                \
            } else {                                                                                       \
                expect(result == WW_ROOM && size == 0 && link.sent == sent, name, "must say: no room");    \
                expect(capacity < frame_size + 4, name, "asks for more than WW_FRAME_BYTES");              \
            }                                                                                              \
        }                                                                                                  \
        expect(size == frame_size, name, "never fits");                                                    \
    }

CHECK_ENCODER(hello, ww_hello, ww_encode_hello)
CHECK_ENCODER(samples, ww_samples, ww_encode_samples)
CHECK_ENCODER(status, ww_status, ww_encode_status)
CHECK_ENCODER(ack, ww_ack, ww_encode_ack)

static void check_log(const char *name, const log_case *value, const uint8_t *key, uint32_t boot, uint32_t sent,
                      const uint8_t *frame, size_t frame_size)
{
    ww_link link = make_link(key, boot, sent);
    size_t size;
    ww_result result = ww_encode_log(&link, value->time_us, value->level, value->text, out, sizeof out, &size);
    expect(result == WW_OK && size == frame_size && memcmp(out, frame, size) == 0, name, "frame differs");
}

/* Feeds all bytes; results that are not WW_NONE go to the two counts. */
static unsigned feed(ww_link *link, const uint8_t *bytes, size_t size, ww_result *bad, ww_message *message)
{
    static ww_receiver receiver;
    unsigned messages = 0;
    size_t i;
    ww_receiver_init(&receiver);
    *bad = WW_OK;
    for (i = 0; i < size; i++) {
        ww_result result = ww_receive(link, &receiver, bytes[i], message);
        if (result == WW_OK) {
            messages++;
        } else if (result != WW_NONE) {
            *bad = result;
        }
    }
    return messages;
}

static void check_command(const char *name, const ww_command *value, const uint8_t *key, uint32_t boot,
                          uint32_t sent, const uint8_t *frame, size_t frame_size)
{
    ww_link link = make_link(key, boot, 0);
    ww_message message;
    ww_result bad;
    const ww_command *got = &message.as.command;
    expect(feed(&link, frame, frame_size, &bad, &message) == 1 && bad == WW_OK, name, "not read");
    expect(message.type == WW_COMMAND && got->id == value->id && got->verb == value->verb, name, "differs");
    expect(got->first_seq == value->first_seq && got->end_seq == value->end_seq, name, "range differs");
    if (key == NULL) {
        link = make_link(other_key, boot, 0);
        if (value->verb == WW_VERB_HELLO) {
            expect(feed(&link, frame, frame_size, &bad, &message) == 1, name, "HELLO needs no tag");
        } else {
            expect(feed(&link, frame, frame_size, &bad, &message) == 0 && bad == WW_BAD_NO_TAG, name, "no tag");
        }
        return;
    }
    expect(link.next_counter == sent + 1, name, "counter");
    expect(feed(&link, frame, frame_size, &bad, &message) == 0 && bad == WW_BAD_REPLAYED, name, "replayed");
    link = make_link(key, boot + 1, 0);
    expect(feed(&link, frame, frame_size, &bad, &message) == 0 && bad == WW_BAD_REPLAYED, name, "old boot");
    link = make_link(other_key, boot, 0);
    expect(feed(&link, frame, frame_size, &bad, &message) == 0 && bad == WW_BAD_TAG, name, "wrong key");
    expect(feed(NULL, frame, frame_size, &bad, &message) == 1 && bad == WW_OK, name, "unverified");
}

static void check_verdict(const char *name, const ww_verdict *value, const uint8_t *key, uint32_t boot,
                          uint32_t sent, const uint8_t *frame, size_t frame_size)
{
    ww_link link = make_link(key, boot, sent);
    ww_message message;
    ww_result bad;
    const ww_verdict *got = &message.as.verdict;
    expect(feed(&link, frame, frame_size, &bad, &message) == 1 && bad == WW_OK, name, "not read");
    expect(message.type == WW_VERDICT && got->seq == value->seq && got->count == value->count, name, "window");
    expect(got->status == value->status && got->label_index == value->label_index, name, "status, index");
    expect(got->score == value->score && strcmp(got->label, value->label) == 0, name, "score, label");
}

static void check_bad(const char *name, const uint8_t *bytes, size_t size, ww_result reason, unsigned messages)
{
    ww_message message;
    ww_result bad;
    unsigned got = feed(NULL, bytes, size, &bad, &message);
    expect(got == messages, name, "number of messages");
    expect(reason == WW_NONE ? bad >= WW_BAD_LENGTH : bad == reason, name, "reason");
}

static void check_siphash(size_t size, uint64_t tag);

#include "vectors.h"

static void check_siphash(size_t size, uint64_t tag)
{
    uint8_t bytes[64];
    size_t i;
    for (i = 0; i < size; i++) {
        bytes[i] = (uint8_t)i;
    }
    expect(ww_siphash24(siphash_key, bytes, size) == tag, "siphash", "tag differs");
}

static void check_the_tagged_come_back(void)
{
    /* what we sent ourselves has a good tag, and is not for us */
    ww_link link = make_link(tagged_samples_key, 7, 0);
    ww_message message;
    ww_result bad;
    unsigned got = feed(&link, tagged_samples_frame, sizeof tagged_samples_frame, &bad, &message);
    expect(got == 0 && bad == WW_BAD_TAG && link.next_counter == 0, "tagged_samples", "reflected");
    link.sent = 0xFFFFFFFFu;
    expect(ww_encode_samples(&link, &tagged_samples, out, sizeof out, &(size_t){0}) == WW_EXHAUSTED, "counter",
           "must not begin again");
}

#ifdef ON_BOARD
#include "board.h"
int main(void)
{
    static const uint8_t delimiter = 0;
    char text[160];
    size_t size;
    check_all();
    check_the_tagged_come_back();
    board_init();
    snprintf(text, sizeof text, "%u checks, %u failures %s", checks, failures, first_failure);
    (void)ww_encode_log(NULL, 0, WW_INFO, text, out, sizeof out, &size);
    board_write(&delimiter, 1);
    board_write(out, size);
    for (;;) {
    }
}
#else
int main(void)
{
    check_all();
    check_the_tagged_come_back();
    printf("%u checks, %u failures %s\n", checks, failures, first_failure);
    return failures == 0 ? 0 : 1;
}
#endif
