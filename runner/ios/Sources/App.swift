// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// The app: starts one run when it is on the screen, and ends with it. `edgedeploy` starts it by `devicectl device process launch`.

import Foundation
import SwiftUI
import UIKit

@main
struct RunnerApp: App {
    @State private var began = false

    var body: some Scene {
        WindowGroup {
            Text(CommandLine.arguments.count > 1 ? "edgedeploy is at work" : "edgedeploy starts this app by itself")
                .onAppear { begin() }
        }
    }

    @MainActor private func begin() {
        guard !began, CommandLine.arguments.count > 1 else { return }
        began = true
        UIApplication.shared.isIdleTimerDisabled = true
        UIDevice.current.isBatteryMonitoringEnabled = true
        let battery = Battery(level: UIDevice.current.batteryLevel, state: UIDevice.current.batteryState)
        // A thread, and not a task: in an async context Core ML's predictions would be the async ones, which are timed otherwise.
        let thread = Thread { exit(Session(battery: battery).run(Array(CommandLine.arguments.dropFirst()))) }
        thread.qualityOfService = .userInteractive
        thread.stackSize = 8 << 20
        thread.start()
    }
}
