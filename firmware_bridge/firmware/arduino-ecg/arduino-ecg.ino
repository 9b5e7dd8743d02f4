// ECG from an AD8232 module to edge-agent, on an Arduino Uno or Nano (ATmega328P).
//
//   AD8232   Uno          3.3 V, never 5 V
//   3.3V     3.3V
//   GND      GND
//   OUTPUT   A0
//   LO-      D11
//   LO+      D10
//
// Timer 1 starts each conversion, so the rate is the crystal's. The built-in LED lights while the gateway
// says that the signal is suspect. The wiring is drawn in docs/breadboard.md.
//
// For learning and research, not for diagnosis. Run the Uno from a laptop on battery, never from a mains
// supply, while electrodes are on a person.

#include <EEPROM.h>
#include <avr/sleep.h>
#include <wavewall.h>

#ifndef __AVR_ATmega328P__
#error "this sketch sets the registers of an ATmega328P; the sketch arduino-meter runs on any board"
#endif

#define SAMPLE_RATE 300  // 250 or 300
#define LEAD_OFF_PLUS 10
#define LEAD_OFF_MINUS 11

// F_CPU / TICKS is the rate: 16 MHz / 53,333 = 300.0019 Hz, and HELLO says exactly that.
const uint16_t TICKS = (F_CPU + SAMPLE_RATE / 2) / SAMPLE_RATE;

// One step of the converter is 5 V / 1024; the module amplifies 1100 times around 1.65 V:
// 4.43892045 uV a step, -1500 uV at 0.
const ww_channel CHANNELS[] = {{"ecg", "uV", {443892045, -8}, {-1500, 0}}};

ww_device device;
ww_message message;
uint8_t ring[450];  // ten blocks of 15 samples: half a second to send again

// Samples wait here while loop() is busy: `head` is moved by the interrupt only, `tail` by loop() only.
struct Taken {
  uint32_t time;
  int16_t value;
  uint8_t leadOff;
  uint8_t lost;  // samples before this one that found no room
};
const uint8_t QUEUE = 32;
volatile Taken queue[QUEUE];
volatile uint8_t head = 0;
volatile uint8_t tail = 0;
volatile uint8_t lost = 0;

ISR(TIMER1_COMPA_vect) { ADCSRA |= _BV(ADSC); }  // start a conversion; ADC_vect has its result

ISR(ADC_vect) {
  int16_t value = ADC;
  uint8_t next = (head + 1) % QUEUE;
  if (next == tail) {
    if (lost < 255) lost++;
    return;
  }
  queue[head].time = micros();
  queue[head].value = value;
  queue[head].leadOff = digitalRead(LEAD_OFF_PLUS) || digitalRead(LEAD_OFF_MINUS);
  queue[head].lost = lost;
  lost = 0;
  head = next;
}

void startSampling() {
  noInterrupts();
  TCCR1A = 0;
  TCCR1B = _BV(WGM12) | _BV(CS10);  // count to OCR1A at 16 MHz
  OCR1A = TICKS - 1;
  TCNT1 = 0;
  TIMSK1 = _BV(OCIE1A);
  ADMUX = _BV(REFS0);  // 5 V, pin A0
  ADCSRA = _BV(ADEN) | _BV(ADIE) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0);
  interrupts();
}

bool writeAll(void *, const uint8_t *bytes, size_t size) {
  return Serial.write(bytes, size) == size;
}

void setup() {
  Serial.begin(115200);
  pinMode(LEAD_OFF_PLUS, INPUT);
  pinMode(LEAD_OFF_MINUS, INPUT);
  pinMode(LED_BUILTIN, OUTPUT);

  uint32_t boot;  // counts the starts, so that the gateway knows that the samples begin anew
  EEPROM.get(0, boot);
  boot++;
  EEPROM.put(0, boot);

  ww_hello hello = {};
  hello.device_id = "uno-ecg";
  hello.firmware = "arduino-ecg 1.0";
  hello.channels = CHANNELS;
  hello.channel_count = 1;
  hello.rate_num = F_CPU;
  hello.rate_den = TICKS;
  ww_device_init(&device, &hello, writeAll, NULL);
  ww_device_use_ring(&device, ring, sizeof ring);
  device.block_samples = 15;  // a frame fits the 64 bytes that Serial queues
  ww_device_start(&device, boot, micros());
  startSampling();
}

void loop() {
  while (tail != head) {
    int16_t value = queue[tail].value;
    if (queue[tail].lost > 0) ww_device_skip(&device, queue[tail].lost);
    ww_device_sample(&device, queue[tail].time, &value, queue[tail].leadOff);
    tail = (tail + 1) % QUEUE;
  }
  while (Serial.available() > 0) {
    const ww_verdict *verdict = ww_device_receive(&device, Serial.read(), &message);
    if (verdict != NULL) digitalWrite(LED_BUILTIN, verdict->status == WW_VERDICT_SUSPECT);
  }
  ww_device_poll(&device, micros());
  sleep_mode();  // until the next interrupt, a millisecond at most
}
