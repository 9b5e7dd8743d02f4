/* Runs an Arduino Uno's program in simavr, with its serial line on a pseudo-terminal and something at its pins.
 *
 *     runner [--fast] [--await] [--adc FILE] [--pulses FILE] PROGRAM.elf
 *
 * --fast       as fast as the host can, but not while nobody has the terminal open; else in real time
 * --await      start once the reader has sent something; else once it has opened the terminal
 * --adc FILE   what pin A0 converts to, one line a conversion: a number from 0 to 1023 and, where the electrode
 *              is off, a 1; after the last line it begins again
 * --pulses FILE  pin 2 goes low for 30 ms at each time in the file, in ms
 *
 * Prints the name of the terminal. SIGUSR1 presses the reset button. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_adc.h>
#include <simavr/avr_ioport.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_time.h>

#define PULSE_MS 30

typedef struct {
    avr_t *avr;
    int line;
    bool fast, await;
    FILE *adc, *pulses;
    long lead_off, pulse_ms;
    bool low;
    uint64_t ms;
    struct timespec start;
} runner;

static volatile sig_atomic_t reset_asked;

static void on_signal(int number)
{
    (void)number;
    reset_asked = 1;
}

static void on_output(struct avr_irq_t *irq, uint32_t value, void *param)
{
    runner *r = param;
    uint8_t byte = (uint8_t)value;
    (void)irq;
    /* Waits while the reader is slow, so that nothing is lost however fast the emulator runs. In real time
     * the byte is given up where nobody has the terminal open, as a cable would. */
    while (write(r->line, &byte, 1) < 0) {
        struct pollfd poll_line = {r->line, POLLOUT, 0};
        (void)poll(&poll_line, 1, 10);
        if ((poll_line.revents & POLLHUP) != 0) {
            if (!r->fast) {
                return;
            }
            usleep(2000);
        }
    }
}

static bool next_line(FILE *file, char *text, int size)
{
    if (fgets(text, size, file) != NULL) {
        return true;
    }
    rewind(file);
    return fgets(text, size, file) != NULL;
}

static void on_conversion(struct avr_irq_t *irq, uint32_t value, void *param)
{
    runner *r = param;
    char text[64], *rest;
    long counts, lead_off;
    (void)irq;
    (void)value;
    if (r->adc == NULL || !next_line(r->adc, text, sizeof text)) {
        return;
    }
    counts = strtol(text, &rest, 10);
    lead_off = strtol(rest, NULL, 10);
    if (lead_off != r->lead_off) {
        r->lead_off = lead_off;
        avr_raise_irq(avr_io_getirq(r->avr, AVR_IOCTL_IOPORT_GETIRQ('B'), 2), (uint32_t)lead_off); /* D10 */
    }
    /* simavr takes millivolts and gives mV x 1023 / 5000, rounded down */
    avr_raise_irq(avr_io_getirq(r->avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0), (uint32_t)((counts * 5000 + 1022) / 1023));
}

static void next_pulse(runner *r)
{
    if (r->pulses == NULL || fscanf(r->pulses, "%ld", &r->pulse_ms) != 1) {
        r->pulse_ms = -1;
    }
}

/* Each simulated millisecond: one byte in, the pulse pin, and the wall clock. */
static avr_cycle_count_t on_ms(avr_t *avr, avr_cycle_count_t when, void *param)
{
    runner *r = param;
    uint8_t byte;
    r->ms++;
    if (read(r->line, &byte, 1) == 1) {
        avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT), byte);
    }
    if (r->pulse_ms >= 0 && (long)r->ms >= r->pulse_ms + (r->low ? PULSE_MS : 0)) {
        avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), 2), r->low);
        r->low = !r->low;
        if (!r->low) {
            next_pulse(r);
        }
    }
    if (!r->fast) {
        struct timespec due = r->start;
        due.tv_sec += (time_t)(r->ms / 1000);
        due.tv_nsec += (long)(r->ms % 1000) * 1000000;
        if (due.tv_nsec >= 1000000000) {
            due.tv_sec++;
            due.tv_nsec -= 1000000000;
        }
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    return when + avr_usec_to_cycles(avr, 1000);
}

static void no_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr; /* on_ms() keeps the time */
    (void)cycles;
}

static int fail(const char *what)
{
    fprintf(stderr, "runner: %s\n", what);
    return EXIT_FAILURE;
}

static int open_line(runner *r)
{
    int reader;
    char name[64];
    struct termios raw;
    if (openpty(&r->line, &reader, name, NULL, NULL) != 0 || tcgetattr(reader, &raw) != 0) {
        return -1;
    }
    cfmakeraw(&raw);
    if (tcsetattr(reader, TCSANOW, &raw) != 0 || fcntl(r->line, F_SETFL, O_NONBLOCK) != 0) {
        return -1;
    }
    close(reader);
    printf("serial line on %s\n", name);
    fflush(stdout);
    for (;;) {
        struct pollfd poll_line = {r->line, POLLIN, 0};
        (void)poll(&poll_line, 1, 0);
        if ((poll_line.revents & POLLHUP) == 0 && (!r->await || (poll_line.revents & POLLIN) != 0)) {
            return 0;
        }
        usleep(2000);
    }
}

int main(int argc, char **argv)
{
    static runner r = {.pulse_ms = -1};
    elf_firmware_t firmware;
    const char *program = NULL;
    uint32_t flags = 0;
    int i, state;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--fast") == 0) {
            r.fast = true;
        } else if (strcmp(argv[i], "--await") == 0) {
            r.await = true;
        } else if (strcmp(argv[i], "--adc") == 0 && i + 1 < argc) {
            r.adc = fopen(argv[++i], "r");
            if (r.adc == NULL) {
                return fail("cannot open the file of --adc");
            }
        } else if (strcmp(argv[i], "--pulses") == 0 && i + 1 < argc) {
            r.pulses = fopen(argv[++i], "r");
            if (r.pulses == NULL) {
                return fail("cannot open the file of --pulses");
            }
        } else {
            program = argv[i];
        }
    }
    memset(&firmware, 0, sizeof firmware);
    if (program == NULL || elf_read_firmware(program, &firmware) != 0) {
        return fail("usage: runner [--fast] [--await] [--adc FILE] [--pulses FILE] PROGRAM.elf");
    }
    r.avr = avr_make_mcu_by_name("atmega328p");
    if (r.avr == NULL || avr_init(r.avr) != 0) {
        return fail("simavr has no atmega328p");
    }
    firmware.frequency = 16000000;
    avr_load_firmware(r.avr, &firmware);
    r.avr->frequency = 16000000;
    r.avr->vcc = r.avr->avcc = r.avr->aref = 5000;
    r.avr->sleep = no_sleep;
    avr_ioctl(r.avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(r.avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(r.avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_output, &r);
    avr_irq_register_notify(avr_io_getirq(r.avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_OUT_TRIGGER), on_conversion, &r);
    avr_raise_irq(avr_io_getirq(r.avr, AVR_IOCTL_IOPORT_GETIRQ('D'), 2), 1);
    next_pulse(&r);
    signal(SIGUSR1, on_signal);
    if (open_line(&r) != 0) {
        return fail(strerror(errno));
    }
    clock_gettime(CLOCK_MONOTONIC, &r.start);
    avr_cycle_timer_register_usec(r.avr, 1000, on_ms, &r);
    do {
        state = avr_run(r.avr);
        if (reset_asked) {
            reset_asked = 0;
            avr_reset(r.avr);
            avr_cycle_timer_register_usec(r.avr, 1000, on_ms, &r);
        }
    } while (state != cpu_Done && state != cpu_Crashed);
    return fail("the program crashed");
}
