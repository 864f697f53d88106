/* SPDX-License-Identifier: MIT */
/* Where the transport's registers are, by number: VIRTIO 1.2, 4.1.4.3, and what this device model
 * promises of its BAR 0. Written out, so that a change of the product's own header is seen. */
#ifndef AXVM_TEST_VIRTIO_OFFSETS_H
#define AXVM_TEST_VIRTIO_OFFSETS_H

/* In the common configuration, which BAR 0 begins with. */
#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE 0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE 0x0c
#define MSIX_CONFIG 0x10
#define STATUS 0x14
#define GENERATION 0x15
#define QUEUE_SELECT 0x16
#define QUEUE_SIZE 0x18
#define QUEUE_MSIX 0x1a
#define QUEUE_ENABLE 0x1c
#define QUEUE_DESC 0x20
#define QUEUE_DRIVER 0x28
#define QUEUE_DEVICE 0x30
#define QUEUE_RESET 0x3a
/* In BAR 0. */
#define BAR_ISR 0x1000
#define BAR_DEVICE 0x2000
#define BAR_NOTIFY 0x3000
#define BAR_TABLE 0x4000
#define BAR_PENDING 0x5000

#endif
