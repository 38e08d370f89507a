# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libzttrain.a
ZT_LAYERS += libzttrain.a
libzttrain_a_SOURCES = \
  src/train/adafactor.c src/train/adafactor.h \
  src/train/answers.c src/train/answers.h \
  src/train/attempts.c src/train/attempts.h \
  src/train/batch.c src/train/batch.h \
  src/train/data.c src/train/data.h \
  src/train/evaluate.c src/train/evaluate.h \
  src/train/exact.c src/train/exact.h \
  src/train/generate.c src/train/generate.h \
  src/train/generate_beam.c src/train/generate_inside.h \
  src/train/optim.c src/train/optim.h \
  src/train/placement.c src/train/placement.h \
  src/train/plan.c src/train/plan.h \
  src/train/queue.c src/train/queue.h \
  src/train/sample.c src/train/sample.h \
  src/train/rates.c src/train/rates.h \
  src/train/samples.c src/train/samples.h \
  src/train/schedule.c src/train/schedule.h \
  src/train/texts.c src/train/texts.h \
  src/train/span.c src/train/span.h \
  src/train/split.c src/train/split.h \
  src/train/state.c src/train/state.h \
  src/train/step.c src/train/step.h \
  src/train/trainer.c src/train/trainer.h \
  src/train/trainer_eval.c \
  src/train/trainer_inside.h \
  src/train/trainer_resume.c \
  src/train/trainer_save.c \
  src/train/trainer_start.c \
  src/train/watch.c src/train/watch.h \
  src/train/watch_dog.c src/train/watch_dog.h \
  src/train/watch_lease.c src/train/watch_lease.h \
  src/train/watch_lock.c src/train/watch_lock.h \
  src/train/weights.c src/train/weights.h \
  src/train/zero3.c src/train/zero3.h
