// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// The names of a model's inputs and outputs, in its order: MLModelDescription has them in dictionaries only. They are read from the
// package's own protobuf (https://apple.github.io/coremltools/mlmodel/Format/Model.html); a test compares the numbers with coremltools'.

import Foundation

struct Signature {
    /// Nil for a package without functions by name.
    let function: String?
    let inputs: [String]
    let outputs: [String]
}

struct Specification {
    private enum Field {
        static let modelDescription = 2
        static let descriptionInput = 1
        static let descriptionOutput = 10
        static let descriptionFunctions = 20
        static let descriptionDefaultFunctionName = 21
        static let functionName = 1
        static let functionInput = 2
        static let functionOutput = 3
        static let featureName = 1
    }

    private let description: Message

    init(package: URL) throws {
        let file = package.appendingPathComponent("Data/com.apple.CoreML/model.mlmodel")
        guard let content = try? Data(contentsOf: file, options: .mappedIfSafe),
              let found = try Message(content).message(Field.modelDescription)
        else { throw Failure(stage: "load", message: "the package has no model.mlmodel that can be read") }
        description = found
    }

    /// Of the function by that name, or of the default one.
    func signature(of method: String?) throws -> Signature {
        let functions = try description.messages(Field.descriptionFunctions)
        guard !functions.isEmpty else {
            guard method == nil || method == "main" else { throw Self.unknown(method!, ["main"]) }
            return Signature(
                function: nil,
                inputs: try names(description, Field.descriptionInput),
                outputs: try names(description, Field.descriptionOutput)
            )
        }
        let known = try functions.map { try $0.text(Field.functionName) }
        let wanted = try method ?? description.text(Field.descriptionDefaultFunctionName)
        guard let index = known.firstIndex(of: wanted) else { throw Self.unknown(wanted, known) }
        return Signature(
            function: wanted,
            inputs: try names(functions[index], Field.functionInput),
            outputs: try names(functions[index], Field.functionOutput)
        )
    }

    private func names(_ message: Message, _ field: Int) throws -> [String] {
        try message.messages(field).map { try $0.text(Field.featureName) }
    }

    private static func unknown(_ name: String, _ known: [String]) -> Failure {
        Failure(stage: "load", message: "there is no function \(name); the package has \(known.joined(separator: ", "))")
    }
}

/// A protobuf message: the fields that have a length, by number (https://protobuf.dev/programming-guides/encoding).
private struct Message {
    private var fields: [Int: [Data]] = [:]

    init(_ data: Data) throws {
        var rest = data[...]
        while !rest.isEmpty {
            let key = try Self.varint(&rest)
            switch key & 7 {
            case 0: _ = try Self.varint(&rest)
            case 1: _ = try Self.take(8, &rest)
            case 2:
                let length = Int(clamping: try Self.varint(&rest))
                let piece = try Self.take(length, &rest)
                fields[Int(key >> 3), default: []].append(piece)
            case 5: _ = try Self.take(4, &rest)
            default: throw Failure(stage: "load", message: "model.mlmodel is damaged")
            }
        }
    }

    func messages(_ field: Int) throws -> [Message] { try (fields[field] ?? []).map { try Message($0) } }
    func message(_ field: Int) throws -> Message? { try (fields[field]?.last).map { try Message($0) } }
    func text(_ field: Int) throws -> String { String(decoding: fields[field]?.last ?? Data(), as: UTF8.self) }

    private static func take(_ count: Int, _ rest: inout Data) throws -> Data {
        guard count >= 0, count <= rest.count else { throw Failure(stage: "load", message: "model.mlmodel is cut off") }
        let piece = rest.prefix(count)
        rest = rest.dropFirst(count)
        return piece
    }

    private static func varint(_ rest: inout Data) throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { break }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw Failure(stage: "load", message: "model.mlmodel is cut off")
    }
}
