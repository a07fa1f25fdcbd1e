// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// What the phone says about itself, and clocks.

import Foundation
import UIKit
import os

/// As UIKit told it on the main thread.
struct Battery {
    let level: Float
    let state: UIDevice.BatteryState
}

/// Nanoseconds that the phone was awake: what mach_absolute_time counts.
func now() -> UInt64 { clock_gettime_nsec_np(CLOCK_UPTIME_RAW) }

func clockResolutionNs() -> Int {
    var resolution = timespec()
    return clock_getres(CLOCK_UPTIME_RAW, &resolution) == 0 ? resolution.tv_nsec : 0
}

/// The memory that iOS counts against the app's limit: now, and the most so far.
func footprint() -> (now: UInt64, peak: UInt64) {
    var info = task_vm_info_data_t()
    var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
    let result = withUnsafeMutablePointer(to: &info) { pointer in
        pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
            task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
        }
    }
    guard result == KERN_SUCCESS else { return (0, 0) }
    return (info.phys_footprint, UInt64(max(0, info.ledger_phys_footprint_peak)))
}

func deviceFacts(_ battery: Battery) -> [String: Any] {
    let process = ProcessInfo.processInfo
    let version = process.operatingSystemVersion
    let home = URL(fileURLWithPath: NSHomeDirectory())
    let space = try? home.resourceValues(forKeys: [.volumeAvailableCapacityForImportantUsageKey])
    var facts: [String: Any] = [
        "os_version": "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)",
        "model": machine(),
        "memory_total_bytes": process.physicalMemory,
        "memory_available_bytes": os_proc_available_memory(),
        "storage_free_bytes": space?.volumeAvailableCapacityForImportantUsage ?? 0,
        "thermal_state": name(of: process.thermalState),
        "low_power_mode": process.isLowPowerModeEnabled,
        "battery_percent": battery.level < 0 ? -1 : Int((battery.level * 100).rounded()),
    ]
    if battery.state != .unknown { facts["battery_charging"] = battery.state != .unplugged }
    return facts
}

private func machine() -> String {
    var system = utsname()
    uname(&system)
    return withUnsafeBytes(of: &system.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

private func name(of state: ProcessInfo.ThermalState) -> String {
    switch state {
    case .nominal: return "nominal"
    case .fair: return "fair"
    case .serious: return "serious"
    case .critical: return "critical"
    @unknown default: return "unknown"
    }
}
