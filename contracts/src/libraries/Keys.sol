// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Bn254} from "./Bn254.sol";
import {ILedger} from "../ILedger.sol";

/// @title Verifying keys in the code of a contract of their own
/// @dev Reading code costs 3 gas a word once the contract is warm, reading storage 2,100. The code is a STOP byte (it can never run), then words:
///
///     shared    alpha 2 | beta 4 | tau 4 | L_0 for k = 16 .. 24, 2 each
///     circuit   delta 4 | IC_0 + domain IC_1, 2 | IC_2 .. IC_9, 2 each        (for each circuit)
///
/// The domain is the same in every proof of a deployment, so its term is folded into IC_0 when the keys are written.
/// What cannot be checked here and is left to the deployer: that the L_0 belong to tau, e(L_0^(k), n([tau]_2 - G2)) = e([tau^n]_1 - [1]_1, G2),
/// which needs the powers of tau.
library Keys {
    uint256 private constant SHARED_WORDS = 28;
    uint256 private constant CIRCUIT_WORDS = 22;
    /// @notice As many as there are places for shapes, see `Ledger`.
    uint256 internal constant MAX_CIRCUITS = 8;
    uint256 internal constant MIN_K = 16;
    uint256 internal constant MAX_K = 24;

    // ---- writing ----

    /// @notice Checks the keys and puts them into the code of a new contract.
    function store(ILedger.Params memory params, uint256 domain) internal returns (address keys) {
        uint256 count = params.circuits.length;
        if (count == 0 || count > MAX_CIRCUITS) revert ILedger.CircuitCountOutOfRange(count);
        bytes memory code = abi.encodePacked(hex"00", shared(params));
        for (uint256 id = 1; id <= count; ++id) {
            requireOwnDelta(params.circuits, id);
            code = bytes.concat(code, circuit(id, params.circuits[id - 1], domain));
        }
        // push2 length, dup1, push1 10, returndatasize (0), codecopy, returndatasize (0), return: returns all that follows these ten bytes
        bytes memory creation = abi.encodePacked(hex"61", uint16(code.length), hex"80600a3d393df3", code);
        assembly ("memory-safe") {
            keys := create(0, add(creation, 0x20), mload(creation))
        }
        if (keys == address(0)) revert ILedger.KeysNotStored();
    }

    function shared(ILedger.Params memory params) private view returns (bytes memory) {
        requireUsableG1(params.alpha[0], params.alpha[1]);
        requireUsableG2(params.beta);
        requireUsableG2(params.tau);
        // tau = 1 would open every polynomial to everything; tau = -1 is as public
        if (Bn254.isGenerator(params.tau)) revertUnusableG2(params.tau);
        for (uint256 i; i < 18; i += 2) {
            requireUsableG1(params.l0[i], params.l0[i + 1]);
        }
        return abi.encode(params.alpha, params.beta, params.tau, params.l0);
    }

    /// @dev Points with the same x are equal or opposite.
    function requireOwnDelta(ILedger.VerifyingKey[] memory circuits, uint256 id) private pure {
        uint256[4] memory delta = circuits[id - 1].delta;
        for (uint256 i; i + 1 < id; ++i) {
            if (circuits[i].delta[0] == delta[0] && circuits[i].delta[1] == delta[1]) revert ILedger.DeltaRepeated(id);
        }
    }

    function circuit(uint256 id, ILedger.VerifyingKey memory key, uint256 domain) private view returns (bytes memory) {
        if (Bn254.isGenerator(key.delta)) revert ILedger.DeltaIsGamma(id);
        requireUsableG2(key.delta);
        for (uint256 i; i < 20; i += 2) {
            requireUsableG1(key.ic[i], key.ic[i + 1]);
        }
        Bn254.Sum memory folded = Bn254.Sum(key.ic[0], key.ic[1], 0, 0, 0);
        Bn254.addMul(folded, key.ic[2], key.ic[3], domain);
        bytes memory out = abi.encodePacked(key.delta, folded.x, folded.y);
        for (uint256 i = 4; i < 20; ++i) {
            out = bytes.concat(out, bytes32(key.ic[i]));
        }
        return out;
    }

    function requireUsableG1(uint256 x, uint256 y) private pure {
        if (!Bn254.isOnCurve(x, y) || (x == 0 && y == 0)) revert ILedger.UnusableG1Point(x, y);
    }

    function requireUsableG2(uint256[4] memory point) private view {
        if (!Bn254.isUsableG2(point)) revertUnusableG2(point);
    }

    function revertUnusableG2(uint256[4] memory point) private pure {
        revert ILedger.UnusableG2Point(point[0], point[1], point[2], point[3]);
    }

    // ---- reading ----

    /// @notice What all circuits share, for states of 2^k slots: alpha 2 | beta 4 | tau 4 | L_0 of k, 2.
    function readShared(address keys, uint256 k) internal view returns (uint256[12] memory out) {
        assembly ("memory-safe") {
            extcodecopy(keys, out, 1, 0x140)
            extcodecopy(keys, add(out, 0x140), add(0x141, mul(0x40, sub(k, MIN_K))), 0x40)
        }
    }

    /// @notice A circuit's key, as stored; the id must be one of the deployment's.
    function readCircuit(address keys, uint256 id) internal view returns (uint256[22] memory out) {
        uint256 start = 1 + 0x20 * (SHARED_WORDS + CIRCUIT_WORDS * (id - 1));
        assembly ("memory-safe") {
            extcodecopy(keys, out, start, 0x2c0)
        }
    }
}
