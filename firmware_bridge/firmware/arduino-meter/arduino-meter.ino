// An energy meter's pulses to edge-agent, on any Arduino board.
//
//   Meter (S0 output)   Board
//   S0+                 D2, which the board pulls up
//   S0-                 GND
//
// For a meter that blinks instead, a photo transistor does the same: collector to D2, emitter to GND. The S0
// output is isolated from the mains; open nothing else of a meter.
//
// Each pulse is a fixed part of a kilowatt hour, so the time between two of them is the power. A sample is
// taken every 10 s. Between pulses the power can only be lower than what the waiting time allows.

#include <wavewall.h>
#ifdef __AVR__
#include <avr/sleep.h>
#endif

#define PULSE_PIN 2
#define PULSES_PER_KWH 1000UL  // printed on the meter
#define SECONDS_PER_SAMPLE 10
#define SHORTEST_PULSE_MS 20  // anything quicker is bounce; 1000 pulses a kWh and 100 A stay far above

const uint32_t WATT_MS = 3600000000UL / PULSES_PER_KWH;  // power in W = WATT_MS / ms between two pulses

const ww_channel CHANNELS[] = {{"power", "W", {1, 0}, {0, 0}}};

ww_device device;
ww_message message;
uint32_t nextSample;

volatile uint32_t pulseMs = 0;   // when the last pulse came
volatile uint32_t betweenMs = 0;  // and how long after the one before; 0: not known yet

#ifdef ARDUINO_ISR_ATTR
ARDUINO_ISR_ATTR
#endif
void onPulse() {
  uint32_t now = millis();
  if (now - pulseMs < SHORTEST_PULSE_MS) return;
  if (pulseMs != 0) betweenMs = now - pulseMs;
  pulseMs = now;
}

int16_t watts() {
  noInterrupts();
  uint32_t between = betweenMs, waiting = millis() - pulseMs;
  interrupts();
  if (between == 0) return 0;
  uint32_t power = WATT_MS / (waiting > between ? waiting : between);
  return power > 32767 ? 32767 : power;
}

bool writeAll(void *, const uint8_t *bytes, size_t size) {
  return Serial.write(bytes, size) == size;
}

void setup() {
  Serial.begin(115200);
  pinMode(PULSE_PIN, INPUT_PULLUP);
  attachInterrupt(digitalPinToInterrupt(PULSE_PIN), onPulse, FALLING);

  ww_hello hello = {};
  hello.device_id = "meter";
  hello.firmware = "arduino-meter 1.0";
  hello.channels = CHANNELS;
  hello.channel_count = 1;
  hello.rate_num = 1;
  hello.rate_den = SECONDS_PER_SAMPLE;
  ww_device_init(&device, &hello, writeAll, NULL);
  device.block_samples = 1;

  // Without memory that outlives a restart, noise of an open pin must do: the number has to differ.
  uint32_t boot = 0;
  for (uint8_t i = 0; i < 32; i++) boot = (boot << 1 | boot >> 31) ^ analogRead(A0) ^ micros();
  ww_device_start(&device, boot, micros());
  nextSample = micros() + SECONDS_PER_SAMPLE * 1000000UL;
}

void loop() {
  if ((int32_t)(micros() - nextSample) >= 0) {
    int16_t power = watts();
    ww_device_sample(&device, nextSample, &power, 0);
    nextSample += SECONDS_PER_SAMPLE * 1000000UL;
  }
  while (Serial.available() > 0) ww_device_receive(&device, Serial.read(), &message);
  ww_device_poll(&device, micros());
#ifdef __AVR__
  sleep_mode();  // until the next interrupt, a millisecond at most
#endif
}
