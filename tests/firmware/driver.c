/* Runs the library over records from stdin, each a u32 length and that many bytes, under the sanitizers.
 *
 *     driver receive [KEY BOOT]   a stream from the gateway; prints what came of it, one line a record
 *     driver samples              a block to encode; prints the frame, or the result that refused it
 *     driver device [KEY]         what happens to a device; prints all that it sent
 *
 * KEY: 32 hexadecimal digits. Reads of the record past its end and writes past a capacity are seen, because each
 * lies in a heap block of its exact size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wavewall.h"

static uint8_t *record;
static uint32_t record_size, record_at;

static bool next_record(void)
{
    free(record);
    record = NULL;
    record_at = 0;
    if (fread(&record_size, 4, 1, stdin) != 1) {
        return false;
    }
    record = malloc(record_size);
    return record != NULL && fread(record, 1, record_size, stdin) == record_size;
}

/* The next n bytes of the record as a number; 0 past its end. */
static uint32_t take(int n)
{
    uint32_t value = 0;
    int i;
    for (i = 0; i < n; i++) {
        value |= record_at < record_size ? (uint32_t)record[record_at++] << (8 * i) : 0;
    }
    return value;
}

static void print_hex(const void *bytes, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++) {
        printf("%02x", ((const uint8_t *)bytes)[i]);
    }
}

static void receive(ww_link *link)
{
    ww_receiver *receiver = malloc(sizeof *receiver);
    uint32_t i;
    ww_receiver_init(receiver);
    for (i = 0; i < record_size; i++) {
        ww_message message;
        ww_result result = ww_receive(link, receiver, record[i], &message);
        if (result != WW_OK) {
            if (result != WW_NONE) {
                printf("%d;", (int)result);
            }
        } else if (message.type == WW_COMMAND) {
            const ww_command *c = &message.as.command;
            printf("C %u %u %u %u;", c->id, c->verb, c->first_seq, c->end_seq);
        } else {
            const ww_verdict *v = &message.as.verdict;
            printf("V %u %u %u %u %u ", v->seq, v->count, v->status, v->label_index, v->score);
            print_hex(v->label, strlen(v->label));
            printf(";");
        }
    }
    free(receiver);
}

static void samples(void)
{
    ww_samples block;
    int16_t *values;
    uint8_t *out;
    size_t capacity, size, count, i;
    ww_result result;
    memset(&block, 0, sizeof block);
    block.seq = take(4);
    block.time_us = take(4);
    block.lead_off = (uint16_t)take(2);
    block.channel_count = (uint8_t)take(1);
    block.count = (uint8_t)take(1);
    i = take(1);
    block.end = i & 1;
    block.pack = i >> 1 & 1;
    capacity = take(2);
    count = (size_t)block.channel_count * block.count;
    values = malloc(count * sizeof *values);
    out = malloc(capacity);
    for (i = 0; i < count; i++) {
        values[i] = (int16_t)take(2);
    }
    block.values = values;
    result = ww_encode_samples(NULL, &block, out, capacity, &size);
    if (result == WW_OK) {
        print_hex(out, size);
    } else {
        printf("%d", (int)result);
    }
    free(values);
    free(out);
}

static bool print_write(void *user, const uint8_t *bytes, size_t size)
{
    uint32_t *refuse = user;
    if (*refuse > 0) {
        --*refuse;
        return false;
    }
    print_hex(bytes, size);
    return true;
}

/* The record is a list of events: what, and its arguments. The values of sample n are n and n x n. */
static void device(const uint8_t *key)
{
    static const ww_channel channels[] = {{"a", "1", {1, 0}, {0, 0}}, {"b", "1", {-25, -1}, {7, 0}}};
    ww_hello hello = {"fuzz", "", channels, 2, 0, 300, 1, false, 0};
    ww_device *d = malloc(sizeof *d);
    uint32_t now = take(4), boot = 1, n = 0, refuse = 0;
    size_t ring_size = take(2);
    uint8_t *ring = malloc(ring_size);
    ww_device_init(d, &hello, print_write, &refuse);
    d->pack = take(1) & 1;
    ww_device_use_ring(d, ring_size > 0 ? ring : NULL, ring_size);
    ww_device_use_key(d, key);
    d->hello.obeys_commands = take(1) & 1;
    d->block_samples = (uint8_t)(1 + take(1) % (WW_BLOCK_VALUES / 2));
    if (ww_device_start(d, boot, now) != WW_OK) {
        abort();
    }
    while (record_at < record_size) {
        uint32_t what = take(1), i;
        if (what < 128) {
            for (i = 0; i < what; i++, n++) {
                int16_t values[2];
                values[0] = (int16_t)(n & 0xFFFF);
                values[1] = (int16_t)(n * n & 0xFFFF);
                ww_device_sample(d, now, values, (uint16_t)(what == 127));
                now += 3333;
            }
        } else if (what < 200) {
            uint32_t size = take(1);
            for (i = 0; i < size; i++) {
                ww_message message;
                const ww_verdict *verdict = ww_device_receive(d, (uint8_t)take(1), &message);
                if (verdict != NULL) {
                    ww_device_log(d, now, WW_INFO, verdict->label);
                }
            }
        } else if (what < 230) {
            for (i = 0; i < what - 199; i++, now += 1000) {
                ww_device_poll(d, now);
            }
        } else if (what < 240) {
            now += take(4);
        } else if (what < 245) {
            ww_device_skip(d, what);
            n += what;
        } else if (what < 250) {
            refuse = what - 244;
        } else if (what < 253) {
            if (!d->ended) {
                ww_device_end(d, now);
            }
            ww_device_start(d, ++boot, now);
            n = 0;
        } else {
            ww_device_flush(d);
        }
    }
    free(d);
    free(ring);
}

static bool from_hex(const char *text, uint8_t key[WW_KEY_BYTES])
{
    int i;
    for (i = 0; i < WW_KEY_BYTES; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            return false;
        }
        key[i] = (uint8_t)byte;
    }
    return true;
}

int main(int argc, char **argv)
{
    uint8_t key[WW_KEY_BYTES];
    bool keyed = argc > 2 && from_hex(argv[2], key);
    if (argc < 2 || (argc > 2 && !keyed)) {
        return 2;
    }
    while (next_record()) {
        if (strcmp(argv[1], "receive") == 0) {
            ww_link link;
            ww_link_init(&link, keyed ? key : NULL, argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0);
            receive(&link);
        } else if (strcmp(argv[1], "samples") == 0) {
            samples();
        } else {
            device(keyed ? key : NULL);
        }
        printf("\n");
    }
    return 0;
}
