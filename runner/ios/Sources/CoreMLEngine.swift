// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand. Written from Apple's documentation.
// Core ML: compiled on the phone, loaded, bound, run.

import CoreML
import Foundation

typealias Features = MLDictionaryFeatureProvider

struct Output {
    let dtype: String
    let shape: [Int]
    var bytes: Data
}

final class CoreMLEngine {
    private static let dtypes: [(MLMultiArrayDataType, String)] = [
        (.float16, "float16"), (.float32, "float32"), (.double, "float64"), (.int32, "int32"),
    ]

    private let package: URL
    private let method: String?
    private let units: MLComputeUnits
    private var model: MLModel!
    private var signature: Signature!
    /// An MLState, which iOS 17 does not know.
    private var state: AnyObject?

    init(package: URL, method: String?, units: MLComputeUnits) {
        (self.package, self.method, self.units) = (package, method, units)
    }

    /// Compiles and loads; gives how long the compilation took. The phone keeps nothing of it for the next start.
    func load() throws -> UInt64 {
        let specification = try Specification(package: package)
        signature = try specification.signature(of: method)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        if let function = signature.function {
            guard #available(iOS 18.0, *) else {
                throw Failure(stage: "load", message: "packages with several functions need iOS 18")
            }
            configuration.functionName = function
        }
        let began = now()
        let compiled = try Self.compiled(package)
        let compileNs = now() - began
        do {
            model = try MLModel(contentsOf: compiled, configuration: configuration)
        } catch {
            throw Failure(stage: "load", message: "\(error.localizedDescription)")
        }
        if #available(iOS 18.0, *), !model.modelDescription.stateDescriptionsByName.isEmpty {
            // It begins as zeros, and is kept from one case to the next, as PyTorch's buffers are.
            state = model.makeState()
        }
        return compileNs
    }

    private static func compiled(_ package: URL) throws -> URL {
        let done = DispatchSemaphore(value: 0)
        var result: Result<URL, Error>?
        MLModel.compileModel(at: package) { (found: Result<URL, Error>) in
            result = found
            done.signal()
        }
        done.wait()
        do {
            return try result!.get()
        } catch {
            throw Failure(stage: "load", message: "it cannot be compiled: \(error.localizedDescription)")
        }
    }

    /// Whether the model takes these inputs.
    func bind(_ inputs: [Input]) throws {
        guard inputs.count == signature.inputs.count else {
            throw Failure(stage: "input", message: "\(inputs.count) inputs given, the model takes \(signature.inputs.count)")
        }
        for (index, (input, name)) in zip(inputs, signature.inputs).enumerated() {
            guard let declared = model.modelDescription.inputDescriptionsByName[name]?.multiArrayConstraint else {
                throw Failure(stage: "input", message: "input \(index), \(name), is no array")
            }
            let dtype = Self.name(of: declared.dataType)
            let shapes: [[NSNumber]]
            switch declared.shapeConstraint.type {
            case .enumerated: shapes = declared.shapeConstraint.enumeratedShapes
            case .range: shapes = [input.shape.map { NSNumber(value: $0) }]  // Core ML itself refuses what is out of its range
            default: shapes = [declared.shape]
            }
            guard dtype == input.dtype, shapes.contains(where: { $0.map(\.intValue) == input.shape }) else {
                let taken = shapes.map { "\(dtype)\($0)" }.joined(separator: " or ")
                throw Failure(stage: "input", message: "input \(index) is \(input.words), the model takes \(taken)")
            }
        }
    }

    func features(_ parts: [Data], of inputs: [Input]) throws -> Features {
        var values: [String: MLFeatureValue] = [:]
        for ((part, input), name) in zip(zip(parts, inputs), signature.inputs) {
            guard let type = Self.dtypes.first(where: { $0.1 == input.dtype })?.0 else {
                throw Failure(stage: "input", message: "Core ML takes no inputs of \(input.dtype)")
            }
            let array = try MLMultiArray(shape: input.shape.map { NSNumber(value: $0) }, dataType: type)
            let element = Input.elementBytes[input.dtype]!
            array.withUnsafeMutableBytes { memory, strides in
                part.withUnsafeBytes { bytes in
                    forEachRow(input.shape, strides, element) { position, offset, size in
                        (memory.baseAddress! + offset).copyMemory(from: bytes.baseAddress! + position, byteCount: size)
                    }
                }
            }
            values[name] = MLFeatureValue(multiArray: array)
        }
        return try Features(dictionary: values)
    }

    func predict(_ features: Features) throws -> MLFeatureProvider {
        do {
            if #available(iOS 18.0, *), let state = state as? MLState {
                return try model.prediction(from: features, using: state)
            }
            return try model.prediction(from: features)
        } catch {
            throw Failure(stage: "execute", message: "\(error.localizedDescription)")
        }
    }

    /// In C order, however Core ML keeps them.
    func outputs(_ predicted: MLFeatureProvider) throws -> [Output] {
        try signature.outputs.map { name in
            guard let array = predicted.featureValue(for: name)?.multiArrayValue else {
                throw Failure(stage: "output", message: "output \(name) is no array")
            }
            let dtype = Self.name(of: array.dataType)
            guard let element = Input.elementBytes[dtype] else {
                throw Failure(stage: "output", message: "output \(name) is of \(dtype)")
            }
            let shape = array.shape.map(\.intValue)
            var bytes = Data(count: shape.reduce(element, *))
            array.withUnsafeMutableBytes { memory, strides in
                bytes.withUnsafeMutableBytes { target in
                    forEachRow(shape, strides, element) { position, offset, size in
                        (target.baseAddress! + position).copyMemory(from: memory.baseAddress! + offset, byteCount: size)
                    }
                }
            }
            return Output(dtype: dtype, shape: shape, bytes: bytes)
        }
    }

    private static func name(of type: MLMultiArrayDataType) -> String {
        dtypes.first { $0.0 == type }?.1 ?? "data type \(type.rawValue)"
    }
}

/// Calls `body` for every piece that lies in one: its position in C order, its offset by `strides`, its size; all in bytes.
private func forEachRow(_ shape: [Int], _ strides: [Int], _ element: Int, _ body: (Int, Int, Int) -> Void) {
    let whole = strides.last == 1
    let outer = whole ? Array(shape.dropLast()) : shape
    let count = whole ? shape.last ?? 1 : 1
    for row in 0..<outer.reduce(1, *) {
        var (left, offset) = (row, 0)
        for axis in outer.indices.reversed() {
            offset += left % outer[axis] * strides[axis]
            left /= outer[axis]
        }
        body(row * count * element, offset * element, count * element)
    }
}
