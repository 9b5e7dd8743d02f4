/* The few registers of ARM's MPS2 board with AN385 (Cortex-M3, 25 MHz) that the example needs; QEMU's
 * mps2-an385. For another board, write these functions anew; main.c stays. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void board_init(void);
/* Microseconds since board_init(), wraps after 71 minutes. Call it at least once in 171 s. */
uint32_t board_micros(void);
/* CPU cycles of 25 MHz, counting up, wraps. */
uint32_t board_cycles(void);
/* Waits while the transmitter is busy. */
void board_write(const uint8_t *bytes, size_t size);
/* The next received byte, or -1. */
int board_read(void);
/* Until the next interrupt: a received byte, or a millisecond at most. */
void board_sleep(void);
void board_led(bool on);
/* Differs at each call and each start: a count that outlives a reset. */
uint32_t board_new_boot(void);

#endif
