/* A board that plays two records of synthetic ECG, each as an epoch of its own, at 300 Hz over its UART.
 *
 * Runs in QEMU:  qemu-system-arm -M mps2-an385 -kernel cortex-m.elf -display none -monitor none -serial pty
 */
#include <stdint.h>

#include "board.h"
#include "ecg.h"
#include "wavewall.h"

#define RATE_HZ 300
#define BLOCK_SAMPLES 30 /* ten frames a second */
#define PAUSE_US 1000000u

/* One step is 1 uV: physical value = sample x 1 + 0. */
static const ww_channel channels[] = {{"ecg", "uV", {1, 0}, {0, 0}}};

#ifdef EXAMPLE_KEY
/* An example is no secret: give each board 16 random bytes of its own. */
static const uint8_t key[WW_KEY_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif

static ww_device device;
static ww_message message;
static uint8_t ring[4096]; /* holds 4 s unpacked, more as it is packed */

static bool write_all(void *user, const uint8_t *bytes, size_t size)
{
    (void)user;
    board_write(bytes, size);
    return true;
}

static char *put_text(char *to, const char *text)
{
    while (*text != '\0') {
        *to++ = *text++;
    }
    return to;
}

static char *put_number(char *to, uint32_t number)
{
    char digits[10];
    int n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (n > 0) {
        *to++ = digits[--n];
    }
    return to;
}

/* The board has no display: it lights its LED where the verdict is not to be trusted, and says what it got. */
static void show(const ww_verdict *verdict)
{
    static const char *const names[] = {"ok", "suspect", "abstain"};
    char text[96], *end = text;
    board_led(verdict->status != WW_VERDICT_OK);
    end = put_text(end, "verdict ");
    end = put_text(end, names[verdict->status]);
    end = put_text(end, " ");
    end = put_text(end, verdict->label);
    end = put_text(end, " ");
    end = put_number(end, verdict->score);
    end = put_text(end, "/1000 of ");
    end = put_number(end, verdict->count);
    end = put_text(end, " samples from ");
    end = put_number(end, verdict->seq);
    *end = '\0';
    (void)ww_device_log(&device, board_micros(), WW_INFO, text);
}

/* Microseconds from a record's first sample to sample n, without rounding that adds up. */
static uint32_t due_us(uint32_t n)
{
    return n / RATE_HZ * 1000000u + n % RATE_HZ * 1000000u / RATE_HZ;
}

int main(void)
{
    ww_hello hello = {.device_id = "mps2-ecg",
                      .firmware = "cortex-m 1.0",
                      .channels = channels,
                      .channel_count = 1,
                      .rate_num = RATE_HZ,
                      .rate_den = 1};
    uint32_t record = 0, next = 0, start_us, ended_us = 0;
    board_init();
    ww_device_init(&device, &hello, write_all, NULL);
    ww_device_use_ring(&device, ring, sizeof ring);
#ifdef EXAMPLE_KEY
    ww_device_use_key(&device, key);
#endif
    device.block_samples = BLOCK_SAMPLES;
    device.pack = true;
    start_us = board_micros();
    if (ww_device_start(&device, board_new_boot(), start_us) != WW_OK) {
        for (;;) {
            board_led(true); /* hello breaks a rule: see wavewall.h */
        }
    }
    for (;;) {
        uint32_t now_us = board_micros();
        int byte;
        if (!device.ended && now_us - start_us >= due_us(next)) {
            (void)ww_device_sample(&device, start_us + due_us(next), &ecg[record][next], 0);
            if (++next == ECG_SAMPLES) {
                (void)ww_device_end(&device, start_us + due_us(next));
                ended_us = now_us;
            }
        }
        if (device.ended && (device.start_asked || now_us - ended_us >= PAUSE_US)) {
            record = (record + 1) % ECG_RECORDS;
            next = 0;
            start_us = now_us;
            (void)ww_device_start(&device, board_new_boot(), now_us);
        }
        while ((byte = board_read()) >= 0) {
            const ww_verdict *verdict = ww_device_receive(&device, (uint8_t)byte, &message);
            if (verdict != NULL) {
                show(verdict);
            }
        }
        ww_device_poll(&device, board_micros());
        board_sleep();
    }
}
