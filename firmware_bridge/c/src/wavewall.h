/* SPDX-License-Identifier: Apache-2.0 */
/* wavewall: send samples from a microcontroller to a gateway, in frames that survive noise, loss and
 * forgery. The bytes are specified in PROTOCOL.md, the other end is `edge-agent`.
 *
 * C99. No malloc, no global state, no floating point, no interrupts: all memory is yours, each function
 * works on what you hand to it. Not safe for two threads on one struct. Read this page from top to bottom.
 *
 * The short way, a whole device (section 6):
 *
 *     static bool write_all(void *user, const uint8_t *bytes, size_t size) { ...uart...; return true; }
 *
 *     static const ww_channel channels[] = {{"ecg", "uV", {48828125, -7}, {0, 0}}};   // 4.8828125 uV a step
 *     static ww_hello hello = {.device_id = "ecg-1", .firmware = "mine 1.0", .rate_num = 300, .rate_den = 1,
 *                              .channels = channels, .channel_count = 1};
 *     static ww_device device;
 *     static ww_message message;
 *     static uint8_t ring[2048];                                  // to send lost frames again; may be NULL
 *
 *     ww_device_init(&device, &hello, write_all, NULL);
 *     ww_device_use_ring(&device, ring, sizeof ring);
 *     ww_device_start(&device, boot_number, micros());
 *     for (;;) {
 *         if (sample_is_ready()) ww_device_sample(&device, micros(), &sample, 0);
 *         while (byte_is_there()) ww_device_receive(&device, read_byte(), &message);
 *         ww_device_poll(&device, micros());
 *     }
 *
 * The long way: make frames yourself with ww_encode_*() (section 3), read commands with ww_receive()
 * (section 4), keep a ring of sent frames (section 5).
 */
#ifndef WAVEWALL_H
#define WAVEWALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Sizes ---------------------------------------------------------------------------------------
 * Caps of the protocol, each with its reason in PROTOCOL.md section 1. */

#define WW_MAX_BODY 1024
#define WW_MAX_CHANNELS 16
#define WW_MAX_SAMPLES 255
#define WW_MAX_RATE_HZ 100000
#define WW_MAX_DEVICE_ID 32
#define WW_MAX_FIRMWARE 32
#define WW_MAX_CHANNEL_NAME 16
#define WW_MAX_UNIT 8
#define WW_MAX_LOG 200
#define WW_MAX_LABEL 32
#define WW_MAX_RESEND 65535
#define WW_KEY_BYTES 16

/* What you may set, for every file alike (-DWW_...). The defaults suit an Arduino Uno. */

#ifndef WW_RX_BYTES /* longest body that this device can receive; a longer one is dropped and counted */
#define WW_RX_BYTES 72
#endif
#ifndef WW_BLOCK_VALUES /* ww_device only: samples x channels that are sent in one frame, at most */
#define WW_BLOCK_VALUES 32
#endif
#ifndef WW_DEVICE_BODY /* ww_device only: longest body that it sends; HELLO with many channels needs more */
#define WW_DEVICE_BODY 160
#endif

/* version, type, the longest fields, counter and tag, CRC */
#define WW_OVERHEAD (2 + 16 + 4)
#define WW_SAMPLES_BODY(values) (WW_OVERHEAD + 13 + 2 * (values))
/* Capacity that a frame needs whose body has this many bytes: 5 for COBS, 1 for the delimiter. */
#define WW_FRAME_BYTES(body) ((body) + 6)

#if WW_RX_BYTES < WW_OVERHEAD + 12 || WW_RX_BYTES > WW_MAX_BODY
#error "WW_RX_BYTES must be 34 (a tagged RESEND) to 1024; 67 holds any VERDICT"
#endif
#if WW_BLOCK_VALUES < 1 || WW_BLOCK_VALUES > WW_MAX_CHANNELS * WW_MAX_SAMPLES
#error "WW_BLOCK_VALUES must be 1 to 4080"
#endif
#if WW_DEVICE_BODY < WW_SAMPLES_BODY(WW_BLOCK_VALUES) || WW_DEVICE_BODY > WW_MAX_BODY
#error "WW_DEVICE_BODY must hold a block, 35 + 2 * WW_BLOCK_VALUES, and be at most 1024"
#endif

/* ---- 2. Results and messages ------------------------------------------------------------------------ */

typedef enum {
    WW_OK = 0,
    WW_NONE,         /* nothing yet: no whole message, or nothing left to send again */
    WW_ROOM,         /* the capacity is too small; nothing was written that counts */
    WW_ARGUMENT,     /* a field is outside its cap */
    WW_EXHAUSTED,    /* 2^32 tagged frames since boot: restart with a higher boot number */
    WW_UNKNOWN_TYPE, /* a good frame of a kind that this library does not read: skipped */
    WW_BAD_LENGTH,   /* from here on: a received frame was dropped, because it was too long, */
    WW_BAD_COBS,     /* was cut or damaged, */
    WW_BAD_SHORT,    /* has less than 6 bytes, */
    WW_BAD_CRC,      /* was damaged, */
    WW_BAD_VERSION,  /* is of another major version, */
    WW_BAD_NO_TAG,   /* has no tag though this device has a key, */
    WW_BAD_TAG,      /* was not made with this device's key, */
    WW_BAD_REPLAYED, /* has an old counter, */
    WW_BAD_PAYLOAD   /* or its fields break a rule */
} ww_result;

/* mantissa x 10^exponent, exponent -30 to 30: 4.8828125 is {48828125, -7} */
typedef struct {
    int32_t mantissa;
    int8_t exponent;
} ww_decimal;

/* physical value = sample x scale + offset, in the unit */
typedef struct {
    const char *name; /* 1 to 16 of A-Z a-z 0-9 _ - */
    const char *unit; /* 1 to 8 printable ASCII: "uV", "W", "degC", "1" */
    ww_decimal scale; /* not 0 */
    ww_decimal offset;
} ww_channel;

typedef struct {
    const char *device_id; /* 1 to 32 of A-Z a-z 0-9 _ - */
    const char *firmware;  /* 0 to 32 printable ASCII */
    const ww_channel *channels;
    uint8_t channel_count; /* 1 to 16 */
    uint32_t boot;         /* differs at each start of the sample count; with a key it must rise */
    uint32_t rate_num;     /* sampling rate in Hz is rate_num / rate_den */
    uint16_t rate_den;
    bool obeys_commands;
    uint16_t resend; /* how many of the latest samples per channel can be sent again */
} ww_hello;

typedef struct {
    uint32_t seq;          /* index of the first sample since boot; wraps */
    uint32_t time_us;      /* when the first sample was taken; wraps */
    const int16_t *values; /* all channels of the first sample, then of the second, ... */
    uint8_t channel_count; /* 1 to 16 */
    uint8_t count;         /* samples per channel, 0 to 255 */
    uint16_t lead_off;     /* bit i: electrode of channel i was off at any time in the block */
    bool end;              /* the record ends with this block */
    bool pack;             /* lossless packing, where that makes the frame shorter */
} ww_samples;

#define WW_BATTERY_UNKNOWN_MV 0xFFFFu
#define WW_BATTERY_UNKNOWN_PERCENT 0xFFu

typedef struct {
    uint32_t boot;
    uint32_t time_us;
    uint32_t dropped; /* samples per channel that could not be taken or sent since boot */
    uint16_t lead_off;
    uint16_t battery_mv;
    uint8_t battery_percent;
    bool charging;
} ww_status;

enum { WW_DEBUG = 0, WW_INFO = 1, WW_WARNING = 2, WW_ERROR = 3 };

enum { WW_VERB_HELLO = 1, WW_VERB_RESEND = 2, WW_VERB_START = 3, WW_VERB_STOP = 4 };

enum {
    WW_ACK_DONE = 0,
    WW_ACK_UNKNOWN_VERB = 1,
    WW_ACK_BAD_ARGUMENT = 2,
    WW_ACK_GONE = 3,
    WW_ACK_BUSY = 4,
    WW_ACK_PARTIAL = 5
};

typedef struct {
    uint16_t id;   /* of the command */
    uint8_t verb;  /* of the command */
    uint8_t result; /* WW_ACK_... */
    uint32_t value; /* RESEND: seq of the first sample that will be sent again; else 0 */
} ww_ack;

typedef struct {
    uint16_t id;
    uint8_t verb;       /* WW_VERB_..., or one that this library does not know */
    uint32_t first_seq; /* RESEND: samples first_seq to end_seq - 1, modulo 2^32 */
    uint32_t end_seq;
} ww_command;

enum { WW_VERDICT_OK = 0, WW_VERDICT_SUSPECT = 1, WW_VERDICT_ABSTAIN = 2 };

typedef struct {
    uint32_t seq;   /* the window's first sample */
    uint32_t count; /* its length in samples */
    uint8_t status; /* WW_VERDICT_... */
    uint8_t label_index; /* 255: none */
    uint16_t score;      /* 0 to 1000 */
    const char *label;   /* UTF-8, ends with 0; lies in the receiver, valid until its next byte */
} ww_verdict;

enum { WW_COMMAND = 0x41, WW_VERDICT = 0x42 };

typedef struct {
    uint8_t type; /* WW_COMMAND or WW_VERDICT */
    union {
        ww_command command;
        ww_verdict verdict;
    } as;
} ww_message;

/* ---- 3. Making frames --------------------------------------------------------------------------------
 * Each call writes one whole frame, delimiter included, to out[0 .. *size - 1]. `capacity` must be
 * WW_FRAME_BYTES(body), a few bytes more than most frames turn out to have. Where it fails, *size is 0. */

/* Keys and counters of one line; one per serial port. Without a key nothing in it matters. */
typedef struct {
    const uint8_t *key;    /* 16 bytes that outlive the link, or NULL: no tags */
    uint32_t boot;         /* must rise with each start: keep it in EEPROM or flash */
    uint32_t sent;         /* frames tagged in this boot */
    uint32_t next_counter; /* lowest counter that is accepted from the gateway */
} ww_link;

/* Call it at each start of the sample count. `link` may be NULL in all encoders: then there are no tags. */
void ww_link_init(ww_link *link, const uint8_t *key, uint32_t boot);

ww_result ww_encode_hello(ww_link *link, const ww_hello *hello, uint8_t *out, size_t capacity, size_t *size);
ww_result ww_encode_samples(ww_link *link, const ww_samples *samples, uint8_t *out, size_t capacity,
                            size_t *size);
ww_result ww_encode_status(ww_link *link, const ww_status *status, uint8_t *out, size_t capacity,
                           size_t *size);
/* The text is cut to 200 bytes, and to what the capacity takes, never inside a UTF-8 character. */
ww_result ww_encode_log(ww_link *link, uint32_t time_us, uint8_t level, const char *text, uint8_t *out,
                        size_t capacity, size_t *size);
ww_result ww_encode_ack(ww_link *link, const ww_ack *ack, uint8_t *out, size_t capacity, size_t *size);

/* ---- 4. Reading commands and verdicts ---------------------------------------------------------------- */

typedef struct {
    uint16_t length;  /* bytes of the encoded frame so far */
    uint16_t at;      /* bytes decoded so far */
    uint8_t code;     /* of the COBS block that we are in */
    uint8_t left;     /* bytes until that block ends */
    uint8_t body[WW_RX_BYTES];
} ww_receiver;

void ww_receiver_init(ww_receiver *receiver);

/* Feed one byte. WW_NONE: go on. WW_OK: *message holds a message that may be acted upon. Anything else: a
 * frame was dropped, and why. With a key, only tagged frames with a new counter come through, and the
 * HELLO command, which reveals nothing. `link` may be NULL: tags are then cut off unchecked. */
ww_result ww_receive(ww_link *link, ww_receiver *receiver, uint8_t byte, ww_message *message);

/* ---- 5. Sending lost frames again -------------------------------------------------------------------- */

/* The last SAMPLES that were sent, in your memory; the oldest make room for the newest. A block costs
 * 15 + 2 x count x channels bytes, less when packed. */
typedef struct {
    uint8_t *memory;
    size_t size;
    size_t oldest; /* offset of the oldest block */
    size_t used;
    uint32_t first_seq; /* what is being sent again: from here ... */
    uint32_t end_seq;   /* ... to here; equal: nothing */
} ww_ring;

void ww_ring_init(ww_ring *ring, uint8_t *memory, size_t size);

/* How many samples per channel are surely held, when blocks have `count` samples: HELLO's `resend`. */
uint16_t ww_ring_samples(const ww_ring *ring, uint8_t channel_count, uint8_t count);

/* As ww_encode_samples(), and keeps the block. */
ww_result ww_ring_encode(ww_ring *ring, ww_link *link, const ww_samples *samples, uint8_t *out,
                         size_t capacity, size_t *size);

/* A RESEND came. Returns WW_ACK_DONE, _PARTIAL, _GONE or _BUSY, and the first seq that will be sent. */
uint8_t ww_ring_ask(ww_ring *ring, uint32_t first_seq, uint32_t end_seq, uint32_t *value);

/* The next frame to send again; WW_NONE when there is none left. */
ww_result ww_ring_next(ww_ring *ring, ww_link *link, uint8_t *out, size_t capacity, size_t *size);

/* ---- 6. A whole device ------------------------------------------------------------------------------- */

/* Send all these bytes, waiting if need be, and return true; or send none and return false. */
typedef bool (*ww_write)(void *user, const uint8_t *bytes, size_t size);

typedef struct {
    ww_hello hello;
    ww_status status; /* you may set battery_mv, battery_percent and charging, and add to dropped */
    uint8_t block_samples; /* samples per channel in a frame: you may set it before ww_device_start() */
    bool pack;             /* you may set it */
    /* yours to read */
    bool running;     /* false after STOP and at the end */
    bool ended;       /* ww_device_end() was called */
    bool start_asked; /* START came after the end: you may call ww_device_start() with another boot number */
    uint32_t seq;     /* of the first sample that was not sent yet */
    ww_result last_bad; /* why the last frame was dropped; WW_OK: none was */
    uint32_t bad;       /* received frames that were dropped */
    /* inside */
    ww_write write;
    void *user;
    ww_link link;
    ww_receiver receiver;
    ww_ring ring;
    uint32_t block_time_us;
    uint32_t hello_us;  /* when the last one was sent */
    uint32_t status_us;
    uint16_t block_lead_off;
    uint8_t block_count;
    bool hello_due;
    bool status_due;
    int16_t block[WW_BLOCK_VALUES];
    uint8_t frame[WW_FRAME_BYTES(WW_DEVICE_BODY)];
} ww_device;

/* Copies *hello; its texts and channels must stay where they are. Sets hello.obeys_commands: clear it in
 * device->hello afterwards on a line that only goes one way (HELLO is then sent every 2 s). */
void ww_device_init(ww_device *device, const ww_hello *hello, ww_write write, void *user);

/* Optional, before ww_device_start(): memory to send lost frames again; a key, 16 bytes that stay. */
void ww_device_use_ring(ww_device *device, uint8_t *memory, size_t size);
void ww_device_use_key(ww_device *device, const uint8_t *key);

/* Sends HELLO and begins a count at 0. Again after ww_device_end(), with another boot number.
 * WW_ARGUMENT or WW_ROOM: hello breaks a cap, or WW_BLOCK_VALUES or WW_DEVICE_BODY is too small for it. */
ww_result ww_device_start(ww_device *device, uint32_t boot, uint32_t now_us);

/* One sample of every channel, taken at now_us; sends when a block is full. */
ww_result ww_device_sample(ww_device *device, uint32_t now_us, const int16_t *values, uint16_t lead_off);

/* Samples that were lost before they got here: the count goes on without them. */
ww_result ww_device_skip(ww_device *device, uint32_t samples);

/* Sends what is in the unfinished block. */
ww_result ww_device_flush(ww_device *device);

/* Sends the last block, marked as the end of the record; now_us is used where it is empty. */
ww_result ww_device_end(ww_device *device, uint32_t now_us);

/* A byte from the gateway: commands are answered. Returns the verdict that it completed, or NULL. */
const ww_verdict *ww_device_receive(ww_device *device, uint8_t byte, ww_message *message);

/* Call it in your loop: sends HELLO and STATUS when due, and one lost frame each time. */
void ww_device_poll(ww_device *device, uint32_t now_us);

ww_result ww_device_log(ww_device *device, uint32_t now_us, uint8_t level, const char *text);

/* ---- 7. Parts, for tests and for other frames -------------------------------------------------------- */

uint32_t ww_crc32(const uint8_t *bytes, size_t size);
uint64_t ww_siphash24(const uint8_t key[WW_KEY_BYTES], const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif
