#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* CMSDK timer 0, counts down at 25 MHz */
#define TIMER_CTRL REGISTER(0x40000000)
#define TIMER_VALUE REGISTER(0x40000004)
#define TIMER_RELOAD REGISTER(0x40000008)

/* CMSDK UART 0; QEMU ignores the baud rate */
#define UART_DATA REGISTER(0x40004000)
#define UART_STATE REGISTER(0x40004004)
#define UART_CTRL REGISTER(0x40004008)
#define UART_INTSTATUS REGISTER(0x4000400C)
#define UART_BAUDDIV REGISTER(0x40004010)
#define TX_FULL 1u
#define RX_FULL 2u
#define CLOCK_HZ 25000000u
#define BAUD 115200u

#define FPGAIO_LED REGISTER(0x40028000)
#define NVIC_ENABLE REGISTER(0xE000E100)
#define SYSTICK_CTRL REGISTER(0xE000E010)
#define SYSTICK_RELOAD REGISTER(0xE000E014)

#define RX_SIZE 256u /* a power of two, more than the longest COMMAND or VERDICT */

static struct {
    uint32_t last, rest, micros;
} clock;

static struct {
    volatile uint32_t head, tail; /* head: written by the interrupt only; tail: by board_read() only */
    volatile uint8_t bytes[RX_SIZE];
} rx;

/* Kept over a reset, as the linker script puts it where nothing clears it. A launcher may set the seed with
 * QEMU's -device loader, so that two starts of the emulator differ: a real board counts in flash. */
__attribute__((section(".noinit"))) static struct {
    uint32_t seed, magic, count;
} kept;

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];
int main(void);
void reset(void);
void uart_rx(void);

void reset(void)
{
    uint32_t *from = data_load, *to;
    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    (void)main();
    for (;;) {
    }
}

static void fault(void)
{
    for (;;) {
    }
}

/* Only wakes board_sleep(): time is read from the timer, as an emulator may join late ticks to one. */
static void tick(void)
{
}

typedef void (*handler)(void);

/* Vectors 1 to 15 are the core's, then the board's: UART 0's receive interrupt is the first of them. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler handlers[16];
} vectors = {
    stack_top,
    {reset, fault, fault, fault, fault, fault, NULL, NULL, NULL, NULL, fault, fault, NULL, fault, tick, uart_rx},
};

void uart_rx(void)
{
    UART_INTSTATUS = 2;
    while ((UART_STATE & RX_FULL) != 0) {
        uint8_t byte = (uint8_t)UART_DATA;
        uint32_t next = (rx.head + 1) % RX_SIZE;
        if (next != rx.tail) { /* else it is lost, and the frame fails its CRC */
            rx.bytes[rx.head] = byte;
            rx.head = next;
        }
    }
}

void board_init(void)
{
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1;
    clock.last = TIMER_VALUE;
    UART_BAUDDIV = CLOCK_HZ / BAUD;
    UART_CTRL = 0x0B; /* transmit, receive, interrupt on receive */
    NVIC_ENABLE = 1;
}

uint32_t board_cycles(void)
{
    return ~TIMER_VALUE;
}

uint32_t board_micros(void)
{
    uint32_t value = TIMER_VALUE;
    clock.rest += clock.last - value;
    clock.last = value;
    clock.micros += clock.rest / (CLOCK_HZ / 1000000u);
    clock.rest %= CLOCK_HZ / 1000000u;
    return clock.micros;
}

void board_write(const uint8_t *bytes, size_t size)
{
    while (size-- > 0) {
        while ((UART_STATE & TX_FULL) != 0) {
        }
        UART_DATA = *bytes++;
    }
}

int board_read(void)
{
    uint8_t byte;
    if (rx.tail == rx.head) {
        return -1;
    }
    byte = rx.bytes[rx.tail];
    rx.tail = (rx.tail + 1) % RX_SIZE;
    return byte;
}

void board_sleep(void)
{
    if (SYSTICK_CTRL == 0) {
        SYSTICK_RELOAD = CLOCK_HZ / 1000u - 1;
        SYSTICK_CTRL = 7;
    }
    __asm volatile("wfi");
}

void board_led(bool on)
{
    FPGAIO_LED = on;
}

uint32_t board_new_boot(void)
{
    if (kept.magic != 0x57415645u) {
        kept.magic = 0x57415645u;
        kept.count = 0;
    }
    return kept.seed + ++kept.count;
}
