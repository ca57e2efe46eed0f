// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "./IRollup.sol";
import {Challenges} from "./libraries/Challenges.sol";
import {Counters} from "./libraries/Counters.sol";
import {Keys} from "./libraries/Keys.sol";
import {Shapes} from "./libraries/Shapes.sol";
import {Annex} from "./parts/Annex.sol";
import {Ledger} from "./parts/Ledger.sol";
import {Operator} from "./parts/Operator.sol";
import {Prover} from "./parts/Prover.sol";
import {Users} from "./parts/Users.sol";

/// @title The L1 side of a Sheaf rollup
/// @dev See `IRollup` for what every entry point does. Its parts share what `Ledger` stores; in every function checks come first, then effects, then calls
/// to others.
contract Rollup is Users, Operator, Prover {
    using Counters for Counters.Values;

    uint256 private constant MAX_QUEUE_FEE = 0.1 ether;

    address public immutable override annex;

    constructor(Params memory params) Ledger(settingsOf(params)) {
        Settings memory settings =
            Settings(domain, k, operator, listingFee, queueFee, forceTimeout, proveTimeout, queueRate, circuitCount, [uint256(0), 0, 0, 0], keys);
        annex = address(new Annex(settings));
        uint256[6] memory empty;
        stateRoot = keccak256(abi.encode(params.k, empty));
        Counters.Values memory at;
        at.lastToken = NATIVE;
        counters = at.pack();
    }

    function commitAndProve(Commit calldata batch, uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external nonReentrant {
        Counters.Values memory at = live();
        // what was committed before, as far as nobody has proven it; never the batch of this call, which does not count yet
        proveNext(at, oldCommitments, batches);
        commitNext(at, batch);
        counters = at.pack();
    }

    // ---- what `Annex` does, guards included ----

    function requestExit(uint256) external payable {
        leaveToAnnex();
    }

    function requestRotation(uint256, uint256) external payable {
        leaveToAnnex();
    }

    function listToken(address) external payable returns (uint16) {
        leaveToAnnex();
    }

    function revertTo(uint256, Record calldata, uint256) external {
        leaveToAnnex();
    }

    function claimFees(address) external {
        leaveToAnnex();
    }

    function settle(Record calldata, uint256[] calldata, uint256[] calldata, uint256, uint256) external {
        leaveToAnnex();
    }

    function settleRefunds(Record calldata, uint256[] calldata, uint256[] calldata, uint256, uint256, QueueEntry[] calldata) external {
        leaveToAnnex();
    }

    function freeze() external {
        leaveToAnnex();
    }

    function exit(uint256, uint256, address, uint256[6] calldata, uint256[2] calldata) external {
        leaveToAnnex();
    }

    function refund(uint256, QueueEntry[] calldata) external {
        leaveToAnnex();
    }

    /// Ends the call with what the same call of the annex ends with, on this contract's storage. That code is fixed for ever: the constructor made it.
    function leaveToAnnex() private {
        address target = annex;
        assembly {
            // nothing of this contract runs after it, so memory is free from 0 on
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), target, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }

    // ---- deployment ----

    function settingsOf(Params memory params) private returns (Settings memory settings) {
        if (params.k < Keys.MIN_K || params.k > Keys.MAX_K) revert StateSizeOutOfRange(params.k);
        if (params.operator == address(0)) revert OperatorIsZero();
        if (params.queueFee > MAX_QUEUE_FEE) revert QueueFeeTooHigh(params.queueFee);
        requireTimeout(params.forceTimeout);
        requireTimeout(params.proveTimeout);
        settings.domain = Challenges.domain(block.chainid, address(this));
        settings.k = params.k;
        settings.operator = params.operator;
        settings.listingFee = params.listingFee;
        settings.queueFee = params.queueFee;
        settings.forceTimeout = params.forceTimeout;
        settings.proveTimeout = params.proveTimeout;
        settings.circuitCount = params.circuits.length;
        settings.keys = Keys.store(params, settings.domain);
        for (uint256 i; i < params.circuits.length; ++i) {
            uint256 shape = Shapes.pack(i + 1, params.circuits[i].shape);
            settings.shapes[i / 2] |= i % 2 == 0 ? shape : shape << 128;
            uint256 rate = rateOf(shape);
            if (rate > settings.queueRate) settings.queueRate = rate;
        }
    }

    function requireTimeout(uint256 timeout) private pure {
        if (timeout == 0 || timeout > type(uint32).max) revert TimeoutOutOfRange(timeout);
    }

    /// As many entries as one batch has room for, of whatever kinds they are and in however many slots they lie. Not a bound from below: who alternates exits
    /// of slots of its own with deposits into them ends a batch with every second entry, and so makes the operator send more batches in an hour.
    function rateOf(uint256 shape) private pure returns (uint256 least) {
        least = Shapes.deposits(shape);
        if (Shapes.exits(shape) < least) least = Shapes.exits(shape);
        if (Shapes.rotations(shape) < least) least = Shapes.rotations(shape);
        if (Shapes.accounts(shape) < least) least = Shapes.accounts(shape);
    }
}
