// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Keys} from "../src/libraries/Keys.sol";
import {Fixture} from "./support/Fixture.sol";
import {G2} from "./support/G2.sol";

/// @title What the constructor refuses, each with an error of its own, and the most it takes
contract DeploymentTest is Fixture {
    address private constant ELSEWHERE = address(0x5e5e);

    function setUp() public {
        deploy();
    }

    function deploys(ILedger.Params memory p) external {
        construct(ELSEWHERE, p);
    }

    function refuses(ILedger.Params memory p, bytes memory error) private {
        vm.expectRevert(error);
        this.deploys{gas: 100_000_000}(p);
    }

    function test_state_size() public {
        ILedger.Params memory p = params();
        p.k = 15;
        refuses(p, abi.encodeWithSelector(ILedger.StateSizeOutOfRange.selector, 15));
        p.k = 25;
        refuses(p, abi.encodeWithSelector(ILedger.StateSizeOutOfRange.selector, 25));
        p.k = 16 + 256;
        refuses(p, abi.encodeWithSelector(ILedger.StateSizeOutOfRange.selector, 272));
        p.k = 24;
        this.deploys(p);
    }

    function test_operator_fees_and_timeouts() public {
        ILedger.Params memory p = params();
        p.operator = address(0);
        refuses(p, abi.encodeWithSelector(ILedger.OperatorIsZero.selector));
        p = params();
        p.queueFee = 0.1 ether + 1;
        refuses(p, abi.encodeWithSelector(ILedger.QueueFeeTooHigh.selector, 0.1 ether + 1));
        p.queueFee = 0.1 ether;
        this.deploys(p);
        vm.assertEq(IRollup(ELSEWHERE).queueFee(), 0.1 ether);
        p = params();
        p.forceTimeout = 0;
        refuses(p, abi.encodeWithSelector(ILedger.TimeoutOutOfRange.selector, 0));
        p = params();
        p.proveTimeout = 1 << 32;
        refuses(p, abi.encodeWithSelector(ILedger.TimeoutOutOfRange.selector, 1 << 32));
    }

    function test_circuit_count() public {
        ILedger.Params memory p = params();
        p.circuits = new ILedger.VerifyingKey[](0);
        refuses(p, abi.encodeWithSelector(ILedger.CircuitCountOutOfRange.selector, 0));
        p.circuits = new ILedger.VerifyingKey[](9);
        refuses(p, abi.encodeWithSelector(ILedger.CircuitCountOutOfRange.selector, 9));
    }

    function test_shapes() public {
        ILedger.Params memory p = params();
        p.circuits[1].shape.deposits = 0;
        refuses(p, abi.encodeWithSelector(ILedger.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 1 << 16;
        refuses(p, abi.encodeWithSelector(ILedger.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 1;
        p.circuits[1].shape.exits = 0;
        refuses(p, abi.encodeWithSelector(ILedger.ShapeNotSupported.selector, 2));
        (p.circuits[1].shape.exits, p.circuits[1].shape.rotations) = (1, 0);
        refuses(p, abi.encodeWithSelector(ILedger.ShapeNotSupported.selector, 2));
        (p.circuits[1].shape.rotations, p.circuits[1].shape.registers) = (1, 1 << 16);
        refuses(p, abi.encodeWithSelector(ILedger.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.registers = (1 << 16) - 1;
        this.deploys(p);
    }

    /// @dev The least of deposits, exits, rotations and accounts, in the circuit where it is the most.
    function test_queue_rate() public {
        uint32[4][5] memory slots = [[uint32(5), 9, 9, 9], [9, uint32(6), 9, 9], [9, 9, uint32(7), 9], [9, 9, 9, uint32(8)], [9, 9, 9, uint32(1)]];
        for (uint256 i; i < 5; ++i) {
            ILedger.Params memory p = params();
            ILedger.Shape memory shape = p.circuits[i % 2].shape;
            (shape.deposits, shape.exits, shape.rotations, shape.accounts) = (slots[i][0], slots[i][1], slots[i][2], slots[i][3]);
            this.deploys(p);
            vm.assertEq(IRollup(ELSEWHERE).queueRate(), i < 4 ? 5 + i : 1);
        }
    }

    function test_code_is_as_small_as_a_chain_asks() public view {
        vm.assertLe(address(rollup).code.length, 24_576, "size limit of EIP-170");
        vm.assertLe(rollup.annex().code.length, 24_576, "size limit of EIP-170");
        // five circuits: a shape of 8 words, delta 4, IC 20
        uint256 arguments = abi.encode(params()).length + 3 * 32 * 32;
        vm.assertLe(vm.getCode("Rollup.sol:Rollup").length + arguments, 49_152, "size limit of EIP-3860");
    }

    /// @dev Every circuit's key and shape can be read.
    function test_as_many_circuits_as_there_may_be() public {
        ILedger.Params memory p = params();
        ILedger.VerifyingKey[] memory two = p.circuits;
        p.circuits = new ILedger.VerifyingKey[](8);
        uint256[4] memory delta = G2.generator();
        for (uint256 i; i < 8; ++i) {
            p.circuits[i] = abi.decode(abi.encode(two[0]), (ILedger.VerifyingKey));
            delta = G2.double(delta);
            // the last but one keeps the key of the fixtures
            if (i != 6) p.circuits[i].delta = delta;
            p.circuits[i].shape.withdrawals = uint32(i);
        }
        this.deploys(p);
        vm.assertEq(IRollup(ELSEWHERE).circuitCount(), 8);
        address keys = IRollup(ELSEWHERE).keys();
        vm.assertEq(keys.code.length, 1 + 32 * (28 + 22 * 8));
        uint256[22] memory key = Keys.readCircuit(keys, 7);
        vm.assertEq(abi.encode(key[0], key[1], key[2], key[3]), abi.encode(two[0].delta));
        key = Keys.readCircuit(keys, 8);
        vm.assertEq(abi.encode(key[0], key[1], key[2], key[3]), abi.encode(p.circuits[7].delta));
        rollup = IRollup(ELSEWHERE);
        for (uint256 circuit = 1; circuit <= 8; ++circuit) {
            ILedger.Commit memory batch = commitOf(5);
            (batch.number, batch.circuit, batch.queueDigest, batch.withdrawals) = (1, circuit, 0, new ILedger.Withdrawal[](circuit));
            vm.prank(OPERATOR, OPERATOR);
            vm.expectRevert(abi.encodeWithSelector(ILedger.TooManyWithdrawals.selector, circuit, circuit - 1));
            rollup.commit(batch);
        }
    }

    function test_delta_that_is_gamma() public {
        ILedger.Params memory p = params();
        p.circuits[0].delta = G2.generator();
        refuses(p, abi.encodeWithSelector(ILedger.DeltaIsGamma.selector, 1));
        p = params();
        p.circuits[1].delta = G2.opposite(G2.generator());
        refuses(p, abi.encodeWithSelector(ILedger.DeltaIsGamma.selector, 2));
    }

    function test_delta_of_another_circuit() public {
        ILedger.Params memory p = params();
        p.circuits[1].delta = p.circuits[0].delta;
        refuses(p, abi.encodeWithSelector(ILedger.DeltaRepeated.selector, 2));
        p.circuits[1].delta = G2.opposite(p.circuits[0].delta);
        refuses(p, abi.encodeWithSelector(ILedger.DeltaRepeated.selector, 2));
        // half of the x of another is no repetition, but no point either
        for (uint256 half; half < 2; ++half) {
            uint256[4] memory delta = params().circuits[1].delta;
            delta[half] = p.circuits[0].delta[half];
            p.circuits[1].delta = delta;
            refuses(p, abi.encodeWithSelector(ILedger.UnusableG2Point.selector, delta[0], delta[1], delta[2], delta[3]));
        }
    }

    function test_points_of_the_keys() public {
        ILedger.Params memory p = params();
        p.alpha = [uint256(0), 0];
        refuses(p, abi.encodeWithSelector(ILedger.UnusableG1Point.selector, 0, 0));
        p = params();
        p.l0[17] = addmod(p.l0[17], 1, P);
        refuses(p, abi.encodeWithSelector(ILedger.UnusableG1Point.selector, p.l0[16], p.l0[17]));
        p = params();
        p.circuits[0].ic[18] = P;
        refuses(p, abi.encodeWithSelector(ILedger.UnusableG1Point.selector, P, p.circuits[0].ic[19]));
        p = params();
        p.beta = strayG2();
        refusesG2(p, p.beta);
        p = params();
        p.circuits[0].delta = strayG2();
        refusesG2(p, p.circuits[0].delta);
    }

    function test_tau() public {
        ILedger.Params memory p = params();
        p.tau = G2.generator();
        refusesG2(p, p.tau);
        p.tau = G2.opposite(G2.generator());
        refusesG2(p, p.tau);
        p.tau = [uint256(0), 0, 0, 0];
        refusesG2(p, p.tau);
    }

    /// @dev Somebody holds the address that the keys would get.
    function test_keys_that_cannot_be_stored() public {
        vm.etch(vm.computeCreateAddress(ELSEWHERE, vm.getNonce(ELSEWHERE)), hex"00");
        refuses(params(), abi.encodeWithSelector(ILedger.KeysNotStored.selector));
    }

    function refusesG2(ILedger.Params memory p, uint256[4] memory point) private {
        refuses(p, abi.encodeWithSelector(ILedger.UnusableG2Point.selector, point[0], point[1], point[2], point[3]));
    }
}
