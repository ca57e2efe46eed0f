// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Rollup} from "../src/Rollup.sol";
import {TestToken} from "../src/TestToken.sol";
import {vm} from "./Vm.sol";

/// @title A deployment with six real batches, see fixtures/README.md
abstract contract Fixture {
    uint256 internal constant BATCHES = 6;
    uint256 internal constant QUEUE_FEE = 0.0001 ether;
    uint256 internal constant LISTING_FEE = 0.01 ether;
    address internal constant OPERATOR = address(0x0909);

    string internal json;
    Rollup internal rollup;
    TestToken internal token;

    receive() external payable {}

    function setUp() public virtual {
        json = vm.readFile("test/fixtures/batches.json");
        rollup = Rollup(vm.parseJsonAddress(json, ".contract"));
        token = new TestToken();
        deployAt(address(rollup), params());
        rollup.listToken{value: LISTING_FEE}(address(token));
    }

    function params() internal view returns (IRollup.Params memory p) {
        p.k = vm.parseJsonUint(json, ".params.k");
        (p.operator, p.listingFee, p.queueFee, p.forceTimeout, p.proveTimeout) = (OPERATOR, LISTING_FEE, QUEUE_FEE, 7 days, 7 days);
        for (uint256 i; i < 2; ++i) p.alpha[i] = numbers(".params.alpha")[i];
        for (uint256 i; i < 4; ++i) (p.beta[i], p.tau[i]) = (numbers(".params.beta")[i], numbers(".params.tau")[i]);
        uint256[] memory l0 = numbers(".params.l0");
        for (uint256 i; i < 18; ++i) p.l0[i] = l0[i];
        p.circuits = new IRollup.VerifyingKey[](1);
        p.circuits[0] = abi.decode(vm.parseJsonBytes(json, ".params.circuits[0]"), (IRollup.VerifyingKey));
    }

    /// @dev Runs the creation code at the address that the proofs are bound to.
    function deployAt(address at, IRollup.Params memory p) internal {
        vm.etch(at, abi.encodePacked(type(Rollup).creationCode, abi.encode(p)));
        (bool ok, bytes memory code) = at.call("");
        require(ok, "creation");
        vm.etch(at, code);
    }

    function numbers(string memory key) internal view returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, key);
    }

    function path(uint256 batch, string memory key) internal pure returns (string memory) {
        return string.concat(".batches[", vm.toString(batch - 1), "]", key);
    }

    function commitOf(uint256 batch) internal view returns (IRollup.Commit memory) {
        return abi.decode(vm.parseJsonBytes(json, path(batch, ".abi.commit")), (IRollup.Commit));
    }

    function proofOf(uint256 batch) internal view returns (IRollup.BatchProof memory) {
        return abi.decode(vm.parseJsonBytes(json, path(batch, ".abi.proof")), (IRollup.BatchProof));
    }

    function proofs(uint256 first, uint256 count) internal view returns (IRollup.BatchProof[] memory out) {
        out = new IRollup.BatchProof[](count);
        for (uint256 i; i < count; ++i) out[i] = proofOf(first + i);
    }

    function oldCommitments(uint256 batch) internal view returns (uint256[6] memory out) {
        uint256[] memory words = numbers(path(batch, ".oldCommitments"));
        for (uint256 i; i < 6; ++i) out[i] = words[i];
    }

    function enqueue(IRollup.QueueEntry memory entry) internal {
        vm.deal(entry.sender, entry.sender.balance + QUEUE_FEE + (entry.token == 1 ? entry.amount : 0));
        if (entry.token == 1) {
            vm.prank(entry.sender);
            rollup.deposit{value: QUEUE_FEE + entry.amount}(entry.key, entry.owner);
        } else {
            token.mint(entry.sender, entry.amount);
            vm.prank(entry.sender);
            token.approve(address(rollup), entry.amount);
            vm.prank(entry.sender);
            rollup.depositToken{value: QUEUE_FEE}(entry.token, entry.amount, entry.key, entry.owner);
        }
    }

    function enqueueFor(IRollup.Commit memory batch) internal {
        for (uint256 i; i < batch.taken.length; ++i) enqueue(batch.taken[i]);
    }

    function send(IRollup.Commit memory batch) internal {
        vm.prank(OPERATOR, OPERATOR);
        rollup.commit(batch);
    }

    function commitAll(uint256 count) internal {
        for (uint256 number = 1; number <= count; ++number) {
            IRollup.Commit memory batch = commitOf(number);
            enqueueFor(batch);
            send(batch);
        }
    }

    function proveAll(uint256 count) internal {
        rollup.prove(oldCommitments(1), proofs(1, count));
    }

    function settle(uint256 batch) internal {
        uint256[] memory words = numbers(path(batch, ".words"));
        IRollup.Commit memory c = commitOf(batch);
        rollup.settle(proofOf(batch).record, c.choices, words, 0, c.withdrawals.length);
    }
}
