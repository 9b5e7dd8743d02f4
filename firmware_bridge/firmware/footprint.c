/* All that a sender links, to be weighed: every encoder with packing and tags, the memory for blocks of 32
 * samples, and nothing else. */
#include "wavewall.h"

#define SAMPLES 32

static ww_link link;
static int16_t values[SAMPLES];
static uint8_t frame[WW_FRAME_BYTES(WW_SAMPLES_BODY(SAMPLES))];

/* Where a program would have its hardware. */
extern volatile uint32_t somewhere;
volatile uint32_t somewhere;

int footprint(const uint8_t *key, const ww_hello *hello, ww_status *status, const ww_ack *ack);

int footprint(const uint8_t *key, const ww_hello *hello, ww_status *status, const ww_ack *ack)
{
    ww_samples samples = {0, 0, values, 1, SAMPLES, 0, false, true};
    size_t size;
    int failed;
    ww_link_init(&link, key, 1);
    values[0] = (int16_t)(somewhere & 0x7FFF);
    failed = ww_encode_hello(&link, hello, frame, sizeof frame, &size);
    failed |= ww_encode_samples(&link, &samples, frame, sizeof frame, &size);
    failed |= ww_encode_status(&link, status, frame, sizeof frame, &size);
    failed |= ww_encode_log(&link, 0, WW_INFO, "text", frame, sizeof frame, &size);
    failed |= ww_encode_ack(&link, ack, frame, sizeof frame, &size);
    somewhere = frame[size - 1];
    return failed;
}
