/* Counts what a frame costs: encodes frames of 32 samples of ECG and says in LOGs how many CPU cycles one
 * takes. In QEMU with -icount, where a timer tick stands for a fixed number of instructions (shift 0: 40), the
 * figure is instructions, not the cycles of a pipeline. */
#include "board.h"
#include "ecg.h"
#include "wavewall.h"

#define SAMPLES 32
#define FRAMES 200

static const uint8_t key[WW_KEY_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static uint8_t frame[WW_FRAME_BYTES(WW_SAMPLES_BODY(SAMPLES) + 200)];

static uint32_t ticks_for(bool pack, bool tag, uint32_t *bytes)
{
    ww_link link;
    ww_samples samples = {0, 0, NULL, 1, SAMPLES, 0, false, false};
    uint32_t start, n;
    size_t size;
    ww_link_init(&link, tag ? key : NULL, 1);
    samples.pack = pack;
    *bytes = 0;
    start = board_cycles();
    for (n = 0; n < FRAMES; n++) {
        samples.seq = n * SAMPLES;
        samples.values = &ecg[0][n * SAMPLES];
        (void)ww_encode_samples(&link, &samples, frame, sizeof frame, &size);
        *bytes += (uint32_t)size;
    }
    return board_cycles() - start;
}

/* "plain ticks=N frames=N bytes=N" */
static void say(const char *what, bool pack, bool tag)
{
    static char text[80];
    uint32_t numbers[3], i;
    char *to = text;
    size_t size;
    numbers[1] = FRAMES;
    numbers[0] = ticks_for(pack, tag, &numbers[2]);
    while (*what != '\0') {
        *to++ = *what++;
    }
    for (i = 0; i < 3; i++) {
        static const char *const names[] = {" ticks=", " frames=", " bytes="};
        const char *name = names[i];
        char digits[10];
        int n = 0;
        while (*name != '\0') {
            *to++ = *name++;
        }
        do {
            digits[n++] = (char)('0' + numbers[i] % 10);
            numbers[i] /= 10;
        } while (numbers[i] > 0);
        while (n > 0) {
            *to++ = digits[--n];
        }
    }
    *to = '\0';
    (void)ww_encode_log(NULL, board_micros(), WW_INFO, text, frame, sizeof frame, &size);
    board_write(frame, size);
}

int main(void)
{
    static const uint8_t delimiter = 0;
    board_init();
    board_write(&delimiter, 1);
    say("plain", false, false);
    say("packed", true, false);
    say("tagged", false, true);
    for (;;) {
    }
}
