//! What stands in for devices: simulated fleets with faults, and recordings, published over MQTT.
